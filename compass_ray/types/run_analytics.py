"""What is asked of runs that are over, and told of them all together."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

Grouping = Literal["name", "agent", "step", "model"]
"""By the name of the workflow: of runs; by all else: of their calls."""


class AnalysisQuery(NamedTuple):
    """Which workflows that ended at or after `since` and before `until`; None asks for all."""

    by: Grouping
    since: float
    until: float
    account: str | None = None
    name: str | None = None


class Spread(NamedTuple):
    """How large a quantity was, all together and one by one."""

    sum: float
    mean: float
    p50: float
    p95: float


class RunGroup(NamedTuple):
    """What has one name, agent, step or model; None has none."""

    what: str | None
    runs: int
    calls: int
    cancelled: int
    failures: Mapping[str, int]
    """By error code."""
    cost: Spread
    """Micro-dollars of a run, or of a call."""
    seconds: Spread


class Analysis(NamedTuple):
    """The groups, the dearest first; `truncated`: older runs, or further groups, are left out."""

    groups: Sequence[RunGroup]
    truncated: bool
