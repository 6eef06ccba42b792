"""What replicas and the Learner say to each other: decisions, and how answers were judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from compass_ray.types.experiments import Arm, Experiment
from compass_ray.types.routing import Tier
from compass_ray.types.shifts import DriftMode
from compass_ray.types.usage import Money

LearningMode = Literal["on", "frozen", "off"]
"""Learns and uses it; uses it and learns no more; neither."""

LearningAction = Literal["freeze", "resume", "roll_back"]


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How many decisions are kept, and what feedback is learned by.

    `basis` names the quality model whose expectation is corrected, empty without one; `size` is
    the number of features that go with it.
    """

    keep: int
    mode: LearningMode
    basis: str
    size: int
    experiments: tuple[Experiment, ...] = ()
    drift: DriftMode = "off"
    webhook: str | None = field(default=None, repr=False)
    """Where drift is told to."""


class Called(NamedTuple):
    """How a call to an endpoint went; what its caller did to it is left out."""

    endpoint: str
    ok: bool
    seconds: float


class Outcome(NamedTuple):
    """How a request ended; `endpoint` is the one that answered, empty where none did."""

    task: str
    endpoint: str
    status: int
    cost: Money
    seconds: float
    output_tokens: int
    """Of one choice, and all calls together."""
    calls: tuple[Called, ...] = ()
    ruled_tokens: int = 0
    """What the rules expected of it, within the caller's limit."""


@dataclass(frozen=True, slots=True)
class Note:
    """One decision about a request that has ended, without a word of its prompt."""

    request_id: str
    account: str
    at: float
    """Unix seconds."""
    tier: int
    """Of the endpoint that answered; 0 where none did."""
    expected: float | None
    """The quality that the model expected of that tier, before any feedback; None without one."""
    basis: str
    features: bytes = field(repr=False)
    """As `policy.learn` reads them: standardised, 32-bit floats."""
    told: bytes = field(repr=False)
    """JSON: what `policy.retell` makes of a decision and its outcome, but for the numbers."""
    scores: bytes = field(repr=False)
    """The candidates' numbers: `Table.scores`."""
    outcome: Outcome
    arm: Arm | None = None
    """Of the experiment that it was part of."""


@dataclass(frozen=True, slots=True)
class KeptDecision:
    """A note as it is kept, and what its caller thought of the answer."""

    request_id: str
    account: str
    at: float
    told: bytes = field(repr=False)
    scores: bytes = field(repr=False)
    score: float | None
    judged_at: float | None
    learned_in: int | None
    """The version that has learned from the score; None where none has."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a caller thinks of an answer: `score` from 0, useless, to 1, good."""

    request_id: str
    account: str
    score: float
    at: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The score is on disk; `learned_in` is the version that has learned from it, if any."""

    score: float
    learned_in: int | None


@dataclass(frozen=True, slots=True)
class NotJudged:
    """No such request of that account; or nobody answered it; or its first score was another."""

    why: Literal["unknown", "unanswered", "judged"]


Verdict = Judged | NotJudged


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator wants of learning; `to` is the version to roll back to."""

    action: LearningAction
    to: int = 0


@dataclass(frozen=True, slots=True)
class Learning:
    """Where learning stands: its version, and how many answers were judged by tier.

    `oldest` is the first version to which it can be rolled back.
    """

    mode: LearningMode
    version: int
    oldest: int
    seen: Mapping[Tier, int]
