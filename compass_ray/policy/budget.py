"""Limits: windows, paths of accounts, and slices leased to replicas. Pure.

For every bucket, at every moment:  spent + Σ outstanding ≤ limit  for whatever is *granted*,
where outstanding = granted - settled, per replica. A provider that exceeds its limit of output
may overdraw a slice; that is posted in full, and the next grant is refused.

A budget is spent for good, until its window ends. A minute's limit forgets what is older than
60 seconds; of requests at once nothing is ever spent, they are only leased.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from compass_ray.types.accounts import Account, Limit, Period, Unit
from compass_ray.types.events import Amounts
from compass_ray.types.money import Wish

_SLICES = 4
"""A replica gets at most this part of its share of what is free as a slice in advance."""
_MINUTE = 60.0
_GRAIN = 0.25
"""Seconds within which what was spent of a minute's limit is forgotten together."""

_ANYWHERE = timedelta(hours=24)
"""More than any clock on earth is behind UTC."""

_PERIODS: Mapping[int, Period] = {len("2026-11-23"): "day", len("2026-11"): "month"}
"""By the length of a window's name."""
_ENDLESS: Mapping[str, Period] = {"lifetime": "lifetime", "minute": "minute"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """One account's use of one unit in one window.

    `limit` is None where the use is only counted. `resets_at` is Unix seconds, None where the
    window has no end.
    """

    key: str
    account: str
    limit: int | None
    resets_at: float | None
    unit: Unit = "usd"
    period: Period = "lifetime"

    @property
    def window(self) -> str:
        """The window's name, such as 2026-11."""
        return self.key.rpartition("@")[2].partition("#")[0]

    @property
    def is_budget(self) -> bool:
        """Return whether what is spent is gone, until the window ends."""
        return is_budget(self.key)


@dataclass(frozen=True, slots=True)
class Lease:
    """What one replica was granted and has settled of one bucket, both since it began."""

    granted: int = 0
    settled: int = 0

    @property
    def outstanding(self) -> int:
        """Return what the replica may still spend."""
        return max(0, self.granted - self.settled)


@dataclass(slots=True)
class Pot:
    """The authority's books of one bucket. `leased` is the sum of the leases' outstanding.

    `recent` says when `spent` was spent, for a minute's limit: (seconds, amount), oldest first.
    """

    spent: int = 0
    leased: int = 0
    leases: dict[str, Lease] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    """Of each lease, the part that is settled or held, as its replica last said; not stored."""
    scarce_until: float = 0.0
    recent: deque[tuple[float, int]] = field(default_factory=deque)


def window(limit: Limit, now: float) -> tuple[str, float | None]:
    """Return the name of the window that holds `now`, and its end; both are Unix seconds."""
    if limit.period in _ENDLESS:
        return limit.period, None
    zone = ZoneInfo(limit.time_zone)
    at = datetime.fromtimestamp(now, zone)
    start = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if limit.period == "day":
        return f"{at:%Y-%m-%d}", (start + timedelta(days=1)).timestamp()
    return f"{at:%Y-%m}", (start.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()


def path(accounts: Mapping[str, Account], account: str, now: float) -> tuple[Bucket, ...]:
    """Return the buckets from `account` up to its root; an unlisted account has no limits.

    What an account pays is counted even where it has no budget.
    """
    buckets: list[Bucket] = []
    name: str | None = account
    while name is not None:
        found = accounts.get(name) or Account(name)
        if not any(limit.unit == "usd" for limit in found.limits):
            buckets.append(Bucket(f"{name}@lifetime", name, None, None))
        for limit in found.limits:
            label, resets_at = window(limit, now)
            key = f"{name}@{label}" if limit.unit == "usd" else f"{name}@{label}#{limit.unit}"
            buckets.append(Bucket(key, name, limit.amount, resets_at, limit.unit, limit.period))
        name = found.parent
    return tuple(buckets)


@lru_cache(4096)
def parse(key: str) -> tuple[str, Period, Unit]:
    """Return a bucket's account, period and unit by its key."""
    account, _, rest = key.rpartition("@")
    label, _, unit = rest.partition("#")
    return account, _ENDLESS.get(label) or _PERIODS[len(label)], _UNITS[unit]


_UNITS: Mapping[str, Unit] = {
    "": "usd",
    "tokens": "tokens",
    "requests": "requests",
    "parallel": "parallel",
}


def limit_of(accounts: Mapping[str, Account], key: str) -> int | None:
    """Return the limit of a bucket by its key."""
    account, period, unit = parse(key)
    found = accounts.get(account)
    limits = () if found is None else found.limits
    return next((one.amount for one in limits if (one.period, one.unit) == (period, unit)), None)


def is_budget(key: str) -> bool:
    """Return whether what is spent of a bucket is gone, until its window ends."""
    _, period, unit = parse(key)
    return period != "minute" and unit != "parallel"


def is_over(key: str, now: float) -> bool:
    """Return whether a bucket's window is over in every time zone; `now` is Unix seconds."""
    if parse(key)[1] in _ENDLESS:
        return False
    label = key.rpartition("@")[2].partition("#")[0]
    return label < _oldest_day(now)[: len(label)]


@lru_cache(2)
def _oldest_day(now: float) -> str:
    """Return the day that it is where it is day last."""
    return f"{datetime.fromtimestamp(now, UTC) - _ANYWHERE:%Y-%m-%d}"


def is_minute(key: str) -> bool:
    """Return whether a bucket holds a minute's limit."""
    return parse(key)[1] == "minute"


@lru_cache(4096)
def measure(key: str) -> int:
    """Return which of `Amounts` a bucket counts."""
    _, period, unit = parse(key)
    return Amounts._fields.index("pace" if (unit, period) == ("tokens", "minute") else unit)


def settle(pot: Pot, replica: str, amount: int, now: float | None = None) -> None:
    """Book what was used against the replica's lease; `now` for a minute's limit."""
    lease = pot.leases.get(replica, Lease())
    _replace(pot, replica, Lease(lease.granted, lease.settled + amount))
    pot.spent += amount
    if now is not None and amount:
        _remember(pot, amount, now)


def forget(pot: Pot, now: float) -> None:
    """Take out of a minute's limit what was spent more than a minute ago."""
    remembered = sum(amount for _, amount in pot.recent)
    if remembered < pot.spent:  # read from disk: nobody knows when it was
        pot.recent.appendleft((now, pot.spent - remembered))
    while pot.recent and pot.recent[0][0] <= now - _MINUTE:
        pot.spent -= pot.recent.popleft()[1]


def frees_in(pot: Pot, limit: int, wish: Wish, now: float) -> float:
    """Return in how many seconds a minute's limit has room for one more of the least that waits.

    What is leased is taken as used just now.
    """
    short = wish.least - wish.kept - (limit - pot.spent - pot.leased)
    for at, amount in pot.recent:
        if short <= 0:
            break
        short -= amount
        if short <= 0:
            return at + _MINUTE - now
    return 0.0 if short <= 0 else _MINUTE


def grant(pot: Pot, limit: int, replica: str, wish: Wish, now: float, *, scarce_for: float) -> None:
    """Raise or lower a replica's lease towards its wish, as far as the limit allows.

    What is needed is granted while anything is free; a slice in advance only out of plenty, and
    smaller the less is left. A need that cannot be met makes the bucket scarce for a while, which
    asks the other replicas to give back what they do not use. What would not be enough for even
    one waiting request is not granted at all: two replicas with half of it each would both starve.
    """
    pot.kept[replica] = wish.kept
    lease = pot.leases.get(replica, Lease())
    base = max(lease.granted, lease.settled)
    free = limit - pot.spent - pot.leased
    ceiling = base + max(0, free)
    if wish.need > ceiling:
        pot.scarce_until = now + scarce_for
    if wish.least > ceiling:
        granted = max(lease.settled, min(base, wish.kept))
    elif wish.want > base:
        plenty = 0 if now < pot.scarce_until else max(0, free) // (_SLICES * (len(pot.leases) or 1))
        granted = max(base, min(wish.want, ceiling, max(wish.need, base + plenty)))
    else:
        granted = max(lease.settled, min(base, wish.want))
    _replace(pot, replica, Lease(granted, lease.settled))


def may_come(pot: Pot, limit: int, replica: str, wish: Wish) -> bool:
    """Return whether what others hold and do not use would do for the smallest need of `wish`."""
    lease = pot.leases.get(replica, Lease())
    ceiling = max(lease.granted, lease.settled) + max(0, limit - pot.spent - pot.leased)
    unused = sum(
        max(0, other.granted - max(other.settled, pot.kept.get(name, 0)))
        for name, other in pot.leases.items()
        if name != replica
    )
    return wish.least <= ceiling + unused


def take_back(pot: Pot, replica: str) -> None:
    """Take back what a replica has not settled, without forgetting how much it has."""
    lease = pot.leases[replica]
    _replace(pot, replica, Lease(lease.settled, lease.settled))


def release(pot: Pot, replica: str) -> None:
    """Take back what a replica has not settled, and forget it."""
    pot.kept.pop(replica, None)
    lease = pot.leases.pop(replica, Lease())
    pot.leased -= lease.outstanding


def _replace(pot: Pot, replica: str, lease: Lease) -> None:
    before = pot.leases.get(replica, Lease())
    pot.leased += lease.outstanding - before.outstanding
    pot.leases[replica] = lease


def _remember(pot: Pot, amount: int, now: float) -> None:
    at = -(-now // _GRAIN) * _GRAIN  # forgotten a little later than it might be, never earlier
    if pot.recent and pot.recent[-1][0] == at:
        amount += pot.recent.pop()[1]
    pot.recent.append((at, amount))
