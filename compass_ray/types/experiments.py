"""Experiments with real traffic: who takes part, what is compared, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Unit = Literal["user", "account", "request"]
"""What is assigned to an arm, and stays in it."""
Figure = Literal["quality", "cost", "latency", "errors"]
"""Score by feedback; micro-dollars; seconds of what was answered; share of failed requests."""
ArmName = Literal["control", "variant"]
ExperimentAction = Literal["start", "stop"]
Verdict = Literal["better", "worse", "guarded", "stopped", "off"]
"""How a run ended: surely better or worse, by a guard rail, an operator or the configuration."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What the variant may not do; None where nothing is asked of it.

    Ratios are to the control's mean.
    """

    max_cost_ratio: float | None = None
    max_latency_ratio: float | None = None
    max_error_rate: float | None = None
    min_quality: float | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment as it is configured, but for what the variant does.

    `share` of the units get the variant, as many again are the control. `digest` stands for all
    that is compared: where it changes, a new run begins.
    """

    name: str
    digest: str
    share: float
    unit: Unit
    metric: Figure
    alpha: float
    """Probability of finding a difference where there is none, however often one looks."""
    guard: Guard = Guard()
    running: bool = True


class Arm(NamedTuple):
    """What a request is to an experiment; `unit` is a digest, empty where it is the request."""

    experiment: str
    name: ArmName
    unit: str


class Tally(NamedTuple):
    """The values of one figure in one arm, added up by unit.

    `squares`, `products` and `sizes` sum t², t·n and n² over units of n values with the sum t;
    `singles` sums the values' own squares.
    """

    units: int = 0
    values: int = 0
    total: float = 0.0
    squares: float = 0.0
    products: float = 0.0
    sizes: float = 0.0
    singles: float = 0.0

    @property
    def mean(self) -> float:
        """Return the mean value; 0 before the first."""
        return self.total / self.values if self.values else 0.0


Arms = Mapping[ArmName, Mapping[Figure, Tally]]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run has ended."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """An experiment under way or ended; times are Unix seconds."""

    experiment: Experiment
    began: float
    ended: float | None = None
    ending: Ending | None = None
    arms: Arms = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunChanges:
    """What becomes of runs: forgotten and ended by name, begun (again) as configured."""

    dropped: Sequence[str] = ()
    begun: Sequence[Experiment] = ()
    ended: Mapping[str, Ending] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether anything changes."""
        return bool(self.dropped or self.begun or self.ended)


@dataclass(frozen=True, slots=True)
class ExperimentOrder:
    """What an operator wants of an experiment; starting it begins a new run."""

    name: str
    action: ExperimentAction
