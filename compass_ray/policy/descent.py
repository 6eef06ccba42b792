"""When premium is asked first for nothing, and a task may come down the ladder again. Pure.

Where premium's answers to an account's tasks of one type score well, and the next one is dear,
balanced is asked first. Its answer is looked at like any other; where too many of them are given
up for premium's, premium is asked first again, until enough of its answers have come to try anew.
"""

from dataclasses import dataclass, replace

from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.plan import is_free
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification, Tier
from compass_ray.types.usage import MICRO, Money

_FADES = 0.97
"""An answer counts so much less with each later one: some thirty count at a time."""
_ENOUGH = 8.0
"""Fewer say nothing."""
_KEPT = 0.8
"""At least so many balanced answers have to be good enough: the others are paid for in vain."""


@dataclass(frozen=True, slots=True)
class Mean:
    """Of values from 0 to 1, the latest of which count most."""

    total: float = 0.0
    weight: float = 0.0

    def with_one(self, value: float) -> "Mean":
        """Return the mean with one more value."""
        faded = self.faded()
        return Mean(faded.total + value, faded.weight + 1)

    def faded(self) -> "Mean":
        """Return the same mean of values that count less."""
        return Mean(self.total * _FADES, self.weight * _FADES)

    @property
    def is_known(self) -> bool:
        """Return whether enough values count."""
        return self.weight >= _ENOUGH

    @property
    def value(self) -> float:
        """Return the mean."""
        return self.total / self.weight


@dataclass(frozen=True, slots=True)
class Standing:
    """How answers to one account's tasks of one type scored."""

    premium: Mean = Mean()
    kept: Mean = Mean()
    """Of balanced ones: 1 for one that was good enough, 0 for one that was given up."""

    def noted(self, tier: Tier, score: float, *, good: bool) -> "Standing":
        """Return it with one more answer."""
        if tier is Tier.PREMIUM:
            return Standing(self.premium.with_one(score), self.kept.faded())
        if tier is Tier.BALANCED:
            return replace(self, kept=self.kept.with_one(float(good)))
        return self

    def allows_descent(self, above: float) -> bool:
        """Return whether premium's answers score above that, and balanced ones mostly do."""
        if not self.premium.is_known or self.premium.value <= above:
            return False
        return not self.kept.is_known or self.kept.value >= _KEPT


def descended(
    request: ChatRequest,
    seen: Classification,
    catalogue: Catalogue,
    standing: Standing,
    *,
    above: float,
    dear: Money,
) -> Classification:
    """Return `seen`, with balanced in premium's place where that is dear and not needed.

    It stays as it is where the tier is not ours to choose. `dear` is in micro-dollars.
    """
    price = catalogue.usual_prices.get(Tier.PREMIUM)
    if (
        seen.tier is not Tier.PREMIUM
        or price is None
        or Tier.BALANCED not in catalogue.usual_prices
        or not is_free(request, seen)
        or not standing.allows_descent(above)
    ):
        return seen
    cost = seen.input_tokens * price.input + seen.expected_output_tokens * price.output
    if cost < dear * MICRO:
        return seen
    reason = (
        f"tier 2 (balanced): premium's answers to {seen.task_type} score "
        f"{standing.premium.value:.2f}, and this one would cost ${cost / MICRO**2:.4f}"
    )
    return replace(seen, tier=Tier.BALANCED, reasons=(*seen.reasons, reason))
