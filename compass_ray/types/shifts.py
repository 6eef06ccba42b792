"""What answers are like over time, and that it has changed."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

DriftMode = Literal["alert", "freeze", "off"]
"""Tells of drift; tells of it and freezes learning; neither."""
Trait = Literal["quality", "errors", "latency", "output_tokens"]
"""Score by feedback; share of failed calls; seconds of one; tokens of an answer."""


class Stream(NamedTuple):
    """The values of one trait, of one endpoint's answers to one type of task."""

    task: str
    endpoint: str
    trait: Trait


class Level(NamedTuple):
    """What is known of a stream: a reference of its first values, then how far it has left it.

    The reference is so many `values` with `mean` and sum of squared deviations `spread`. `rise` and
    `fall` add up deviations beyond what is allowed, and `above` and `below` the values since each
    was last 0, `risen` and `fallen` in number.
    """

    values: int = 0
    mean: float = 0.0
    spread: float = 0.0
    rise: float = 0.0
    risen: int = 0
    above: float = 0.0
    fall: float = 0.0
    fallen: int = 0
    below: float = 0.0


@dataclass(frozen=True, slots=True)
class Shift:
    """A stream is no longer what it was: a mean of `was` before, `now` since `values` values."""

    stream: Stream
    was: float
    now: float
    values: int
    at: float
    """Unix seconds."""
