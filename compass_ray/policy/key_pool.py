"""Which of a provider's keys signs the next call. Pure; times are seconds on one clock.

Keys take turns. One that has reached a rate limit rests at that endpoint, for as long as it was
told; one that was refused is out everywhere, longer each time. When its time is over it is probed:
one call is signed with it, and what becomes of that decides.

Where every key is out it is not for the pool to wait, but for the endpoint's circuit: then the one
that has been out longest is taken.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import inf

COOLDOWNS = (60.0, 300.0, 900.0, 3600.0)
"""Seconds that a key is out after the first, second, ... refusal in a row; the last repeats."""

_PROBE_LEASE = 60.0
"""Seconds after which a probe is lost."""
_PAUSE = 1.0
"""Seconds of rest where nobody said how long."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """`refusals` in a row; `out_until` is when it may be probed, `rests` the same by endpoint."""

    refusals: int = 0
    out_until: float = -inf
    rests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyPool:
    """The keys in their order, and whose turn is next."""

    keys: tuple[KeyState, ...]
    turn: int = 0

    @property
    def live(self) -> int:
        """How many keys are not out."""
        return sum(not key.refusals for key in self.keys)


def pool_of(size: int) -> KeyPool:
    """Return a pool of so many keys of which nothing is known."""
    return KeyPool((KeyState(),) * size)


def pick(
    pool: KeyPool, endpoint: str, now: float, tried: Collection[int] = ()
) -> tuple[KeyPool, int | None]:
    """Return the key to sign with, by its place; None where all that were not `tried` rest."""
    size = len(pool.keys)
    order = [(pool.turn + step) % size for step in range(size)]
    left = [place for place in order if place not in tried]
    ready = [place for place in left if _ready_at(pool.keys[place], endpoint) <= now]
    if not ready and not pool.live and left:
        ready = [min(left, key=lambda place: pool.keys[place].out_until)]
    if not ready:
        return pool, None
    chosen = ready[0]
    if pool.keys[chosen].refusals:
        pool = _with(pool, chosen, replace(pool.keys[chosen], out_until=now + _PROBE_LEASE))
    return replace(pool, turn=(chosen + 1) % size), chosen


def ready_in(pool: KeyPool, endpoint: str, now: float) -> float:
    """Return in how many seconds the first key that is not out signs for the endpoint again."""
    waits = [_ready_at(key, endpoint) - now for key in pool.keys if not key.refusals]
    return max(0.0, min(waits, default=0.0))


def limited(pool: KeyPool, place: int, endpoint: str, seconds: float | None, now: float) -> KeyPool:
    """Let a key rest at an endpoint, where it has reached a rate limit; it was not refused."""
    key = pool.keys[place]
    until = now + (_PAUSE if seconds is None else seconds)
    kept = {name: at for name, at in key.rests.items() if at > now}
    kept[endpoint] = max(until, kept.get(endpoint, until))
    return _with(pool, place, KeyState(rests=kept))


def refused(pool: KeyPool, place: int, now: float) -> KeyPool:
    """Take a key out that the provider does not accept."""
    key = pool.keys[place]
    cooldown = COOLDOWNS[min(key.refusals, len(COOLDOWNS) - 1)]
    return _with(
        pool,
        place,
        replace(key, refusals=key.refusals + 1, out_until=now + cooldown),
    )


def accepted(pool: KeyPool, place: int) -> KeyPool:
    """Bring a key back that the provider accepts; the same pool where it was not out."""
    key = pool.keys[place]
    return _with(pool, place, KeyState(rests=key.rests)) if key.refusals else pool


def _ready_at(key: KeyState, endpoint: str) -> float:
    return max(key.out_until, key.rests.get(endpoint, -inf))


def _with(pool: KeyPool, place: int, key: KeyState) -> KeyPool:
    return replace(pool, keys=(*pool.keys[:place], key, *pool.keys[place + 1 :]))
