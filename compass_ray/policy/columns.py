"""The five columns of the decision matrix, each in 0..1, 1 is best. Pure.

| column | weight | what it says of an endpoint |
|---|---|---|
| complexity | 30 % | fit of its tier to the classified one, times its stars for the task against the stars that tier calls for |
| tokens | 25 % | share of its context window left free by the input and the expected output |
| latency | 20 % | how its expected time, by what was observed (`policy.pace`), compares with the fastest candidate's, to a power: 1 for real-time, 1/4 normally, 0 for batch, where time does not matter |
| cost | 15 % | share of the ceiling that the expected cost leaves: the caller's `max_cost`, or the dearest candidate; 0 while the price is unknown |
| accuracy | 10 % | the learned quality of its tier's answer to this request, else its stars for the task; times its tier's strength where accuracy is critical; the same for all where the request is exploratory |

Weights are the document's. Complexity and the accuracy by stars do not depend on the request
beyond its class, so they are tabulated once for a catalogue; the others take and return arrays
over it.
"""  # noqa: E501  # a table

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from compass_ray.types.routing import Accuracy, Endpoint, TaskType, Tier, Urgency

_SKILL: Mapping[TaskType, str] = {
    "code": "coding",
    "math": "math",
    "reasoning": "reasoning",
    "analysis": "reasoning",
    "creative": "creative",
    "translation": "multilingual",
}
"""Other task types go by the mean of all text skills."""

_TEXT_SKILLS = ("reasoning", "coding", "creative", "math", "multilingual")
_MOST_STARS = 5

_STARS_WANTED = {Tier.PREMIUM: 5, Tier.BALANCED: 4, Tier.FAST: 3, Tier.SPECIALIZED: 4}
"""What a tier calls for; a skill that an endpoint does not list is taken to be that of its tier."""

RANK = {Tier.PREMIUM: 3, Tier.BALANCED: 2, Tier.SPECIALIZED: 2, Tier.FAST: 1}
"""The tiers by price and strength; a specialised model costs like a balanced one."""

_FIT_WEAKER = {1: 0.4, 2: 0.0}
_FIT_STRONGER = {1: 0.8, 2: 0.6}
_FIT_NEIGHBOUR = 0.9
_OFF_TASK = 0.5
"""Factor for a specialised model asked for what it is not specialised in."""

_POWER: Mapping[Urgency, float] = {"real-time": 1.0, "normal": 0.25, "batch": 0.0}
_FIRST_LINES_TOKENS = 64


Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each column counts; they sum to 1."""

    complexity: float = 0.30
    tokens: float = 0.25
    latency: float = 0.20
    cost: float = 0.15
    accuracy: float = 0.10


def thrifty(weights: Weights, factor: float) -> Weights:
    """Return weights of which cost counts `factor` times as much, still summing to 1."""
    total = 1 + (factor - 1) * weights.cost
    return Weights(
        weights.complexity / total,
        weights.tokens / total,
        weights.latency / total,
        weights.cost * factor / total,
        weights.accuracy / total,
    )


def complexity(endpoint: Endpoint, task: TaskType, tier: Tier) -> float:
    """Return the complexity column for a request of this class."""
    skill = min(1.0, _stars(endpoint, task) / _STARS_WANTED[tier])
    return _tier_fit(endpoint.tier, tier, task) * skill


def accuracy(endpoint: Endpoint, task: TaskType, wanted: Accuracy) -> float:
    """Return the accuracy column for a request of this class."""
    if wanted == "exploratory":
        return 1.0
    stars = _stars(endpoint, task) / _MOST_STARS
    if wanted == "critical":
        return stars * RANK[endpoint.tier] / RANK[Tier.PREMIUM]
    return stars


def expected_accuracy(
    quality: Mapping[Tier, float], tiers: NDArray[np.int64], ranks: Floats, wanted: Accuracy
) -> Floats:
    """Return the accuracy column for a request whose answers' quality is foreseen by tier.

    `tiers` are the endpoints' tiers, as places in the order of `Tier`.
    """
    foreseen = np.array([quality[tier] for tier in Tier]).take(tiers)
    return foreseen * ranks / RANK[Tier.PREMIUM] if wanted == "critical" else foreseen


def seconds(ttft: Floats, tpot: Floats, output_tokens: Floats, *, stream: bool) -> Floats:
    """Return how long a caller waits: for the answer, or for the first lines of a stream."""
    awaited = np.minimum(output_tokens, _FIRST_LINES_TOKENS) if stream else output_tokens
    return ttft + tpot * awaited


def latency(seconds: Floats, fastest: float, urgency: Urgency) -> Floats:
    """Return the latency column."""
    return (fastest / seconds) ** _POWER[urgency]


def cost(costs: Floats, ceiling: float) -> Floats:
    """Return the cost column; the same unit for both, NaN while unknown."""
    saving = 1.0 - costs / ceiling if ceiling else np.equal(costs, 0.0).astype(np.float64)
    return np.fmax(0.0, saving)


def tokens(wanted: Floats, context_windows: Floats) -> Floats:
    """Return the token-budget column."""
    return np.maximum(0.0, 1.0 - wanted / context_windows)


def _stars(endpoint: Endpoint, task: TaskType) -> float:
    unlisted = _STARS_WANTED[endpoint.tier]
    if task in _SKILL:
        return float(endpoint.skills.get(_SKILL[task], unlisted))
    stars = [endpoint.skills.get(name, unlisted) for name in _TEXT_SKILLS]
    return sum(stars) / len(stars)


def _tier_fit(offered: Tier, asked: Tier, task: TaskType) -> float:
    factor = _OFF_TASK if offered is Tier.SPECIALIZED and task != "code" else 1.0
    if offered is asked:
        return factor
    steps = RANK[offered] - RANK[asked]
    if steps == 0:
        return factor * _FIT_NEIGHBOUR
    return factor * (_FIT_STRONGER[steps] if steps > 0 else _FIT_WEAKER[-steps])
