"""What the end of a call says about its endpoint. Pure.

| error                                   | weight   | because                                     |
|-----------------------------------------|----------|---------------------------------------------|
| none                                    | success  |                                             |
| the caller's (4xx, budget, rejected)    | neutral  | another endpoint would have said the same   |
| ours (no endpoint, ledger, config)      | neutral  | the endpoint was not asked                  |
| SchemaMissed                            | neutral  | it answers, and has promised no schema      |
| RateLimited                             | cooldown | it works, only not for us just now          |
| Overloaded, fault, timeout, unreachable,| failure  | some are ordinary, many are an outage       |
|   bad answer, broken stream             |          |                                             |
| ProviderAuthFailed, QuotaExhausted      | fatal    | no repetition helps; an operator has to act |

A provider where nobody accepts a connection takes none for any of its models: that is the end of a
call for the provider's circuit, and says nothing about the endpoint (`concerns_provider`). Whatever
else comes of a call, the provider was there.

A cooldown keeps every replica off the endpoint until the provider's `retry_after`; it counts
neither as a success nor as a failure. A fatal verdict opens the circuit at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from compass_ray.types.errors import (
    CompassError,
    ProviderAuthFailed,
    ProviderError,
    ProviderTimeout,
    ProviderUnreachable,
    QuotaExhausted,
    RateLimited,
    SchemaMissed,
)
from compass_ray.types.events import Verdict

Weight = Literal["success", "neutral", "cooldown", "failure", "fatal"]

WEIGHTS: Mapping[type[CompassError], Weight] = MappingProxyType(
    {
        CompassError: "neutral",
        RateLimited: "cooldown",
        QuotaExhausted: "fatal",
        ProviderError: "failure",
        SchemaMissed: "neutral",
        ProviderAuthFailed: "fatal",
    }
)
"""The table above; an error weighs what its nearest ancestor in the table weighs."""

_VERDICTS: Mapping[Weight, Verdict] = MappingProxyType(
    {
        "success": "success",
        "neutral": "neutral",
        "cooldown": "neutral",
        "failure": "failure",
        "fatal": "failure",
    }
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """How much a call's end weighs; `error` is the class's name, `retry_after` in seconds."""

    weight: Weight
    error: str = ""
    retry_after: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Return what is counted."""
        return _VERDICTS[self.weight]


SUCCESS = Ruling("success")
NEUTRAL = Ruling("neutral")


def judge(error: CompassError | None) -> Ruling:
    """Return what `error` says about the endpoint; None is success."""
    if error is None:
        return SUCCESS
    weight = next(WEIGHTS[cls] for cls in type(error).__mro__ if cls in WEIGHTS)
    return Ruling(weight, type(error).__name__, error.retry_after)


def concerns_provider(error: CompassError) -> bool:
    """Tell whether `error` says that nobody is there, whichever model was meant."""
    if isinstance(error, ProviderTimeout):
        return error.phase == "connect"
    return isinstance(error, ProviderUnreachable)
