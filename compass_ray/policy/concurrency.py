"""How many calls an endpoint takes at once, found out by what it does with them. Pure.

Slow start and AIMD, as TCP finds what a path carries (V. Jacobson, "Congestion Avoidance and
Control", 1988): the limit grows with every answer while it is what holds calls back, by one at
first and by one a round later, and an overload takes a fifth of it, once for all calls that were
under way. Latency says nothing here, unlike with Netflix's concurrency-limits or Envoy's gradient:
how long an answer takes depends on how long it is.
"""

from dataclasses import dataclass
from typing import NamedTuple

from compass_ray.types.errors import CompassError, Overloaded, ProviderTimeout, RateLimited

_START = 8
_KEPT = 0.8
_IN_USE = 0.5
"""Share of the limit that has to be in use for an answer to be evidence that it may grow."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an operator allows: calls at once, and seconds that a call above them waits."""

    floor: int
    ceiling: int
    wait: float


class Limit(NamedTuple):
    """What is believed at the moment."""

    calls: float
    starting: bool = True
    """Whether no overload was met yet."""
    cut_at: float = float("-inf")
    """When it was lowered last, on the clock of the calls."""


def first(bounds: Bounds) -> Limit:
    """Return the limit before anything is known."""
    return Limit(float(max(bounds.floor, min(_START, bounds.ceiling))))


def raised(limit: Limit, in_flight: int, bounds: Bounds) -> Limit:
    """Return the limit after an answer; `in_flight` counts it."""
    if in_flight < _IN_USE * limit.calls:
        return limit
    step = 1.0 if limit.starting else 1 / limit.calls
    return limit._replace(calls=min(float(bounds.ceiling), limit.calls + step))


def lowered(limit: Limit, began_at: float, now: float, bounds: Bounds) -> Limit:
    """Return the limit after an overload; a call that began before the last cut adds nothing."""
    if began_at < limit.cut_at:
        return limit
    return Limit(max(float(bounds.floor), limit.calls * _KEPT), starting=False, cut_at=now)


def is_overload(error: CompassError) -> bool:
    """Return whether a failure says that the endpoint has too much to do."""
    if isinstance(error, ProviderTimeout):
        return error.phase == "first byte"
    return isinstance(error, Overloaded | RateLimited)


def gives_way(limit: Limit, error: CompassError, bounds: Bounds) -> bool:
    """Return whether a lower limit is answer enough to `error`, and no circuit need hear of it.

    Where the limit is at its floor, or the provider says when to come again, it is not; nor where
    nothing was heard at all: that may be an endpoint that hangs.
    """
    heard = isinstance(error, Overloaded | RateLimited)
    return heard and error.retry_after is None and limit.calls > bounds.floor
