"""When a poor answer is given up for one of the next tier, and who gives that one. Pure.

    fast ── below 0.6 ──► balanced ── below 0.7 ──► premium ── above 0.9, and dear ──► balanced

Where nobody of the next tier may answer, the one above it is next. Specialised models stand beside
the ladder. What has been found out about answers is `policy.evaluate`'s, or a judge's; the way down
is `policy.descent`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from compass_ray.policy.select import AUTO
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Endpoint, Tier
from compass_ray.types.usage import Money

__all__ = ["Escalation", "dearer", "may_escalate"]

_ABOVE = {Tier.FAST: (Tier.BALANCED, Tier.PREMIUM), Tier.BALANCED: (Tier.PREMIUM,)}

BELOW: Mapping[Tier, float] = MappingProxyType({Tier.FAST: 0.6, Tier.BALANCED: 0.7})


@dataclass(frozen=True, slots=True)
class Escalation:
    """What an operator has decided: `below` holds the score that an answer of a tier has to reach.

    `always` is for every request that the router is free to place, else only who asks for it is
    looked after. `judge` is the id of the endpoint that is asked about answers; None: nobody.
    """

    always: bool = False
    below: Mapping[Tier, float] = field(default_factory=lambda: dict(BELOW))
    judge: str | None = None
    verifier: bool = True
    """Whether the shipped verifier reads answers."""
    above: float = 0.9
    """Where premium's answers score more, balanced is asked in its place, if premium is dear."""
    dear: Money = 10_000
    """Micro-dollars from which on an answer of premium's is."""


def may_escalate(request: ChatRequest, escalation: Escalation) -> bool:
    """Tell whether the answer to this request may be given up for another one's.

    A model that was named stays, and a stream that may not be held back has no second thoughts.
    """
    wishes = request.preferences
    return (
        request.model == AUTO
        and (escalation.always if wishes.escalate is None else wishes.escalate)
        and (wishes.buffer or not request.stream)
    )


def dearer(tier: Tier, candidates: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the candidates of the next tier above that has any, in their order."""
    for above in _ABOVE.get(tier, ()):
        if some := [one for one in candidates if one.tier is above]:
            return some
    return []
