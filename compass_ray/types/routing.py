"""What can be called, and the decision which of it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from compass_ray.types.experiments import Arm
from compass_ray.types.usage import Money, Price

Capability = Literal["vision", "tools", "json_schema", "audio", "reasoning", "documents"]
Urgency = Literal["real-time", "normal", "batch"]
OnBreak = Literal["error", "restart", "continue"]
"""What becomes of a stream whose provider breaks off in its middle."""
Accuracy = Literal["critical", "normal", "exploratory"]
"""How much a wrong answer costs: the document's "mission vs exploratory"."""
ChatTask = Literal[
    "simple_qa",
    "code",
    "reasoning",
    "math",
    "extraction",
    "creative",
    "translation",
    "summarization",
    "analysis",
]
TaskType = Literal[ChatTask, "embedding"]


class Tier(IntEnum):
    """Classes of models, by price and strength."""

    PREMIUM = 1
    BALANCED = 2
    FAST = 3
    SPECIALIZED = 4


TIERS = {name: tier for tier in Tier for name in (tier.name.lower(), str(tier.value))}
"""By name and by number, as people write them."""

SURE = 0.01
"""Nothing is certain: qualities are kept this far from 0 and 1."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """What a model that makes embeddings makes of a text: a vector of so many `dimensions`.

    `shortens`: it gives fewer where they are asked for.
    """

    dimensions: int
    shortens: bool = False

    def gives(self, dimensions: int | None) -> bool:
        """Return whether it makes vectors of so many dimensions; None: of its own."""
        if dimensions is None or dimensions == self.dimensions:
            return True
        return self.shortens and dimensions < self.dimensions


@dataclass(frozen=True, slots=True)
class Endpoint:
    """(provider, model, region): one thing that can be called.

    `model` is the name callers use, `wire_model` the name the provider uses.
    `price` is None while unknown; such an endpoint is closed to budgeted callers.
    `skills` maps a skill name to the document's stars, 1 to 5.
    """

    provider: str
    model: str
    wire_model: str
    tier: Tier
    context_window: int
    max_output_tokens: int
    capabilities: frozenset[Capability] = frozenset()
    price: Price | None = None
    skills: Mapping[str, int] = field(default_factory=dict)
    region: str = ""
    expected_ttft: float = 1.0
    """Seconds to the first token."""
    expected_tpot: float = 0.02
    """Seconds per output token."""
    embedding: Embedding | None = None
    """Of a model that makes embeddings; it answers nothing else. None: it answers chats."""

    @property
    def id(self) -> str:
        """`provider/model` or `provider/model@region`: stable, unique, used as label and key."""
        suffix = f"@{self.region}" if self.region else ""
        return f"{self.provider}/{self.model}{suffix}"

    def output_limit(self, asked: int | None) -> int:
        """Return the output tokens a call may produce; `asked` is None where nobody said."""
        return self.max_output_tokens if asked is None else min(asked, self.max_output_tokens)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a learned model expects of the tiers' answers to a request."""

    need: float
    """How much better a premium answer would be than a fast one; the order is what counts."""
    quality: Mapping[Tier, float]
    """Probability that an answer of the tier is good enough."""
    field: str
    """Field of knowledge or kind of work, by the names of the data that was learned from."""
    confidence: float
    """Probability that `field` is right, among the fields that were learned."""
    features: NDArray[np.float32] = dataclasses.field(compare=False, repr=False)
    """What it was derived from, as `policy.learn` reads it."""
    surplus: Mapping[Tier, float] = dataclasses.field(default_factory=dict)
    """What feedback has taught beyond `quality`, which is without it."""
    explored: bool = False
    """Whether `surplus` was drawn by chance from what is believed, to learn from the answer."""

    @property
    def foreseen(self) -> Mapping[Tier, float]:
        """`quality` and `surplus` together."""
        if not self.surplus:
            return self.quality
        return {
            tier: min(1 - SURE, max(SURE, quality + self.surplus.get(tier, 0.0)))
            for tier, quality in self.quality.items()
        }


@dataclass(frozen=True, slots=True)
class Classification:
    """What a request looks like: the input of the selector, and its explanation."""

    task_type: TaskType
    tier: Tier
    complexity: float
    """Mean of the stage-2 scores, 1.0 to 3.0."""
    urgency: Urgency
    input_tokens: int
    """Estimated, not counted."""
    expected_output_tokens: int
    scores: Mapping[str, int]
    """Stage 2: name of the score to 1, 2 or 3."""
    reasons: tuple[str, ...]
    """Which rule said what, in the order they were applied."""
    accuracy: Accuracy = "normal"
    expectation: Expectation | None = None
    """None where no model was asked: the rules alone decide."""
    rules: str = ""
    """Version of the rules that it was made by."""
    ruled_output_tokens: int = 0
    """What the rules expect, whatever was learned and whatever limit the caller has set."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the caller asked of the router; None and the empty set leave it free.

    `max_cost` bounds all attempts together, in micro-dollars, and `timeout` in seconds; `providers`
    is an allow-list. `fallbacks` are the models to try after a pinned one, in this order.
    """

    tier: Tier | None = None
    max_cost: Money | None = None
    urgency: Urgency | None = None
    providers: frozenset[str] = frozenset()
    on_break: OnBreak = "error"
    timeout: float | None = None
    fallbacks: tuple[str, ...] = ()
    hedge_after: float | None = None
    """In place of the operator's, see `RetryPolicy`."""
    escalate: bool | None = None
    """Whether a poor answer is to be given up for a dearer model's; None: as the operator says."""
    buffer: bool = False
    """Whether a stream may be held back until its answer is whole and was looked at."""
    budget_used: float = 0.0
    """The used share of a budget of the caller's own, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint that may serve the request, with its score in 0..1 by column."""

    endpoint: Endpoint
    score: float
    columns: Mapping[str, float]
    expected_cost: Money | None = None
    """Micro-dollars for the expected output; None while the price is unknown."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An endpoint that may not serve the request.

    `kind` tells whether nobody asked for it, whether it is out of service (and may serve the same
    request later), or whether it does not fit the request or the caller.
    """

    endpoint_id: str
    kind: Literal["unasked", "unavailable", "unfit"]
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """The candidates as numbers: ids and tiers in the order they are tried, `scores` (9, n).

    The rows of `scores` are those of `SCORES`.
    """

    ids: Sequence[str]
    tiers: Sequence[int]
    scores: NDArray[np.float32]


COLUMNS = ("complexity", "tokens", "latency", "cost", "accuracy")
"""Of the decision matrix."""
SCORES = ("score", *COLUMNS, "expected_cost_micro_usd", "expected_seconds", "expected_quality")
"""The rows of a `Table`; NaN for a cost that is unknown."""


class Evidence(Protocol):
    """What a decision rests on; looked at for few decisions, so put into words when asked."""

    def candidates(self) -> tuple[Candidate, ...]:
        """Return the endpoints that may serve the request, in the order they are tried."""

    def table(self) -> Table:
        """Return what there is to say of the same endpoints as numbers, at little cost."""

    def excluded(self) -> tuple[Exclusion, ...]:
        """Return all others."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The endpoints that may serve a request, in the order in which they are tried."""

    classification: Classification
    endpoints: Sequence[Endpoint]
    evidence: Evidence
    arm: Arm | None = None
    """Of the experiment that it is part of."""
