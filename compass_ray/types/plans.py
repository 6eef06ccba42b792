"""A workflow's plan: a tree whose leaves are calls of models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Aggregate = Literal["merge", "vote", "judge"]
"""All answers below each other; the one that most gave; what a judge makes of them."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model: a chat-completions body whose texts may hold `{{names}}`.

    `attempts` is how often it is made in all, where it fails and not by its caller's fault; `name`
    is what later steps call its answer, None for nothing. In a `literal` one no name is filled in.
    """

    body: Mapping[str, Any]
    attempts: int = 1
    name: str | None = None
    literal: bool = False
    agent: str | None = None
    """Whose fields it has."""
    uses: tuple[str, ...] = ()
    """The names in its texts, each as often as it is there."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps one after the other; each sees the answer of the one before as `{{previous}}`."""

    steps: tuple["Step", ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """Branches at the same time; a `judge` sees their answers as `{{answers}}`."""

    branches: tuple["Step", ...]
    aggregate: Aggregate
    judge: Call | None = None


@dataclass(frozen=True, slots=True)
class Debate:
    """Rounds in which every speaker sees the `{{answers}}` of the round before; then the judge."""

    speakers: tuple[Call, ...]
    rounds: int
    judge: Call


@dataclass(frozen=True, slots=True)
class Delegate:
    """A lead that answers with a JSON array of tasks, a worker for each `{{task}}`, a summary.

    More tasks than `width` fail the step.
    """

    lead: Call
    worker: "Step"
    combine: Call
    width: int


@dataclass(frozen=True, slots=True)
class Check:
    """What a step's answer has to be, besides no refusal.

    JSON of this `schema`; with all these texts, in any case; given by this share of a vote; and a
    `judge`, who sees it as `{{answer}}`, begins with "yes".
    """

    schema: Mapping[str, Any] | None = None
    contains: tuple[str, ...] = ()
    confidence: float = 0.0
    judge: Call | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """A step, and another in its place where it fails or its answer does not pass the check.

    That one sees the answer as `{{failed}}`, and as `{{failure}}` what was wrong.
    """

    step: "Step"
    check: Check
    fallback: "Step"


Step = Call | Chain | Parallel | Debate | Delegate | Try
