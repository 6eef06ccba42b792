"""Which tier is worth its price for a request, by what is expected of each tier's answer. Pure.

The rules choose a tier by words and size. Where a learned model says what to expect, the tier with
the highest expected quality less `frugality` times its expected cost, as a share of premium's, is
asked for instead. How much that saves, and at what loss, is in docs/routing.md.
"""

from dataclasses import replace

from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.plan import is_free
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification, Tier

_LADDER = (Tier.FAST, Tier.BALANCED, Tier.PREMIUM)


def worth_its_price(
    request: ChatRequest, seen: Classification, catalogue: Catalogue, frugality: float
) -> Classification:
    """Return `seen` with the tier that is worth its price.

    It stays as it is without an expectation or prices, where the tier is not ours to choose, and
    for a task of a specialised model.
    """
    if seen.expectation is None or seen.tier is Tier.SPECIALIZED or not is_free(request, seen):
        return seen
    costs = {
        tier: seen.input_tokens * price.input + seen.expected_output_tokens * price.output
        for tier, price in catalogue.usual_prices.items()
    }
    most = costs.get(Tier.PREMIUM)
    if not most:
        return seen
    foreseen = seen.expectation.foreseen
    worth = {t: foreseen[t] - frugality * costs[t] / most for t in _LADDER if t in costs}
    best = max(worth, key=worth.__getitem__)
    told = ", ".join(f"{tier.name.lower()} {foreseen[tier]:.2f}" for tier in worth)
    reason = f"tier {best.value} ({best.name.lower()}), worth its price: expected are {told}"
    return replace(seen, tier=best, reasons=(*seen.reasons, reason))
