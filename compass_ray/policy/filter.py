"""Which endpoints may not serve a request, and the one reason why. Pure.

Asked in this order: model pinned, allowed models, provider, capability, context window,
unavailable, tier, price unknown, worst case above what may be spent.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from compass_ray.policy.catalogue import Row
from compass_ray.policy.columns import RANK
from compass_ray.policy.pricing import worst_case
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification
from compass_ray.types.usage import MICRO, Money


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds at this moment, and for this caller.

    `unavailable` maps an endpoint id or a provider to the reason why it cannot be called (not
    configured, unhealthy, circuit open). `allowed_models` holds models or endpoint ids; None
    allows all. `remaining` is what the tightest budget has left; None without a budget.
    """

    unavailable: Mapping[str, str] = field(default_factory=dict)
    allowed_models: frozenset[str] | None = None
    remaining: Money | None = None


class Filter:
    """One request's questions; the answers are asked of every endpoint."""

    __slots__ = (
        *("_conditions", "_input_tokens", "_limit", "_limit_name", "_needs", "_output_tokens"),
        *("_pinned_ids", "_providers", "_request", "_tier"),
    )

    def __init__(
        self,
        request: ChatRequest,
        classification: Classification,
        conditions: Conditions,
        pinned_ids: Container[str] | None,
    ) -> None:
        """Take the ids that a pinned model stands for; None where the router is free."""
        wishes = request.preferences
        self._request = request
        self._conditions = conditions
        self._pinned_ids = pinned_ids
        self._needs = request.needs
        self._providers = wishes.providers
        self._tier = None if pinned_ids is not None else wishes.tier
        self._input_tokens = classification.input_tokens
        wanted = request.max_output_tokens
        self._output_tokens = classification.expected_output_tokens if wanted is None else wanted
        self._limit, self._limit_name = _limit(wishes.max_cost, conditions.remaining)

    def reason(self, row: Row) -> str | None:
        """Return why this endpoint is out, or None."""
        return self._not_meant(row) or self._not_able(row) or self._too_dear(row)

    def _not_meant(self, row: Row) -> str | None:
        endpoint = row.endpoint
        if self._pinned_ids is not None and row.id not in self._pinned_ids:
            return f"not the model asked for, {self._request.model}"
        allowed = self._conditions.allowed_models
        if allowed is not None and endpoint.model not in allowed and row.id not in allowed:
            return "not among the caller's allowed models"
        if self._providers and endpoint.provider not in self._providers:
            return "not among the providers asked for"
        return None

    def _not_able(self, row: Row) -> str | None:
        endpoint = row.endpoint
        if not self._needs <= endpoint.capabilities:
            return f"cannot do {', '.join(sorted(self._needs - endpoint.capabilities))}"
        unavailable = self._conditions.unavailable
        if unavailable:
            why = unavailable.get(row.id) or unavailable.get(endpoint.provider)
            if why is not None:
                return why
        wanted = self._input_tokens + min(self._output_tokens, endpoint.max_output_tokens)
        if wanted > endpoint.context_window:
            return f"about {wanted:,} tokens exceed its window of {endpoint.context_window:,}"
        return None

    def _too_dear(self, row: Row) -> str | None:
        if self._tier is not None and RANK[row.endpoint.tier] > RANK[self._tier]:
            return f"dearer than the {self._tier.name.lower()} tier asked for"
        limit = self._limit
        if limit is None:
            return None
        most = worst_case(self._request, row.endpoint)
        if most is None:
            return f"price unknown, and the caller has {self._limit_name}"
        if most > limit:
            return f"worst case {dollars(most)} exceeds {self._limit_name} of {dollars(limit)}"
        return None


def dollars(amount: Money) -> str:
    """Write micro-dollars as dollars, exactly."""
    return f"${amount // MICRO}.{amount % MICRO:06d}"


def _limit(max_cost: Money | None, remaining: Money | None) -> tuple[Money | None, str]:
    if max_cost is not None and (remaining is None or max_cost <= remaining):
        return max_cost, "a cost limit"
    return remaining, "a remaining budget"
