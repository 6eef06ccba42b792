"""Budgets: windows, paths of accounts, and slices leased to replicas. Pure.

For every bucket, at every moment:  spent + Σ outstanding ≤ limit  for whatever is *granted*,
where outstanding = granted - settled, per replica. A provider that exceeds its limit of output
may overdraw a slice; that is posted in full, and the next grant is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from compass_ray.types.accounts import Account, Period
from compass_ray.types.money import Wish
from compass_ray.types.usage import Money

_SLICES = 4
"""A replica gets at most this part of its share of what is free as a slice in advance."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One account's money in one window. `resets_at` is Unix seconds, None for a lifetime."""

    key: str
    account: str
    limit: Money | None
    resets_at: float | None


@dataclass(frozen=True, slots=True)
class Lease:
    """What one replica was granted and has settled of one bucket, both since it began."""

    granted: Money = 0
    settled: Money = 0

    @property
    def outstanding(self) -> Money:
        """Return what the replica may still spend."""
        return max(0, self.granted - self.settled)


@dataclass(slots=True)
class Pot:
    """The authority's books of one bucket. `leased` is the sum of the leases' outstanding."""

    spent: Money = 0
    leased: Money = 0
    leases: dict[str, Lease] = field(default_factory=dict)
    kept: dict[str, Money] = field(default_factory=dict)
    """Of each lease, the part that is settled or held, as its replica last said; not stored."""
    scarce_until: float = 0.0


def window(period: Period, now: float) -> tuple[str, float | None]:
    """Return the name of the window that holds `now`, and its end; windows are in UTC."""
    at = datetime.fromtimestamp(now, UTC)
    if period == "day":
        start = at.replace(hour=0, minute=0, second=0, microsecond=0)
        return f"{at:%Y-%m-%d}", (start + timedelta(days=1)).timestamp()
    if period == "month":
        start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return f"{at:%Y-%m}", (start + timedelta(days=32)).replace(day=1).timestamp()
    return "lifetime", None


def path(accounts: Mapping[str, Account], account: str, now: float) -> tuple[Bucket, ...]:
    """Return the buckets from `account` up to its root; an unlisted account has no budget."""
    buckets: list[Bucket] = []
    name: str | None = account
    while name is not None:
        found = accounts.get(name) or Account(name)
        label, resets_at = window(found.period, now)
        buckets.append(Bucket(f"{name}@{label}", name, found.limit, resets_at))
        name = found.parent
    return tuple(buckets)


def limit_of(accounts: Mapping[str, Account], key: str) -> Money | None:
    """Return the limit of a bucket by its key."""
    found = accounts.get(key.rpartition("@")[0])
    return None if found is None else found.limit


def settle(pot: Pot, replica: str, cost: Money) -> None:
    """Book a cost against the replica's lease."""
    lease = pot.leases.get(replica, Lease())
    _replace(pot, replica, Lease(lease.granted, lease.settled + cost))
    pot.spent += cost


def grant(
    pot: Pot, limit: Money, replica: str, wish: Wish, now: float, *, scarce_for: float
) -> None:
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


def may_come(pot: Pot, limit: Money, replica: str, wish: Wish) -> bool:
    """Return whether what others hold and do not use would do for the smallest need of `wish`."""
    lease = pot.leases.get(replica, Lease())
    ceiling = max(lease.granted, lease.settled) + max(0, limit - pot.spent - pot.leased)
    unused = sum(
        max(0, other.granted - max(other.settled, pot.kept.get(name, 0)))
        for name, other in pot.leases.items()
        if name != replica
    )
    return wish.least <= ceiling + unused


def release(pot: Pot, replica: str) -> None:
    """Take back what a replica has not settled."""
    pot.kept.pop(replica, None)
    lease = pot.leases.pop(replica, Lease())
    pot.leased -= lease.outstanding


def _replace(pot: Pot, replica: str, lease: Lease) -> None:
    before = pot.leases.get(replica, Lease())
    pot.leased += lease.outstanding - before.outstanding
    pot.leases[replica] = lease
