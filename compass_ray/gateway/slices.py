"""What this replica holds of each limit, and the arithmetic of using it. No I/O, no clock.

Amounts are in the unit of their bucket.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import inf

from compass_ray.policy import budget
from compass_ray.policy.budget import Bucket
from compass_ray.types.accounts import PROVIDER, Account
from compass_ray.types.events import Amounts, Settlement
from compass_ray.types.money import Grant, Wish
from compass_ray.types.usage import Money

_AHEAD = 2
"""A slice in advance covers so many seconds of the recent pace."""


class Slice:
    """One bucket: what was granted, settled and held here, and what was last heard of it.

    `granted` and `settled` are cumulative, as for the Ledger. `unposted` is settled here and not
    yet in `spent`, the books of all replicas together. `short` says that the last answer did not
    cover what was needed when it was asked for.
    """

    __slots__ = (
        *("_active", "_pace", "_pace_before", "_second", "_used", "_waiting", "bucket"),
        *("frees_in", "granted", "held", "limit", "measure", "more_may_come", "scarce"),
        *("settled", "short", "spent", "unposted", "wished"),
    )

    def __init__(self, bucket: Bucket, limit: int, active: "set[Slice]") -> None:
        """Join `active` whenever there may be something to ask for."""
        self._active = active
        self.bucket = bucket
        self.measure = budget.measure(bucket.key)
        self.limit = limit
        self.granted = 0
        self.settled = 0
        self.held = 0
        self.spent = 0
        self.unposted = 0
        self.scarce = False
        self.frees_in = 0.0
        self.short = False
        self.more_may_come = False
        self.wished = Wish(0, 0, 0, 0)
        self._waiting: Counter[int] = Counter()
        self._used = False
        self._second = 0
        self._pace = 0
        self._pace_before = 0

    def left(self) -> int:
        """Return what may still be held out of this slice."""
        return self.granted - self.settled - self.held

    def remaining(self) -> int:
        """Return what the whole limit has left, as far as known."""
        return max(0, self.limit - self.spent - self.unposted - self.held)

    def take(self, amount: int) -> None:
        """Hold; counted for the pace."""
        self.held += amount
        self._pace += amount
        self._used = True
        self._active.add(self)

    def wait_for(self, amount: int) -> None:
        """Note that a request waits for so much."""
        self._waiting[amount] += 1
        self._active.add(self)

    def stop_waiting(self, amount: int) -> None:
        """Note that a request no longer waits for so much."""
        self._waiting[amount] -= 1
        if not self._waiting[amount]:
            del self._waiting[amount]

    @property
    def is_waited_for(self) -> bool:
        """Return whether any request waits."""
        return bool(self._waiting)

    def is_resting(self) -> bool:
        """Return whether there is nothing new to ask for, and nothing that others could use."""
        return not self._used and not self._waiting and self.left() <= 0

    def is_idle(self) -> bool:
        """Return whether nothing is granted that is not settled, and nothing is wished for."""
        return self.wished.want == self.granted == self.settled and not self.unposted

    def wish(self, now: float) -> Wish:
        """Return what to ask for."""
        self._count_seconds(int(now))
        kept = self.settled + self.held
        least = kept + min(self._waiting, default=0)
        need = kept + sum(amount * count for amount, count in self._waiting.items())
        ahead = 0 if self.scarce else _AHEAD * max(self._pace, self._pace_before)
        return Wish(kept, least, need, need + ahead)

    def give_up(self, wish: Wish) -> None:
        """Give up what is no longer wished for, or is too little for any request that waits."""
        useful = wish.want if self.granted >= wish.least else wish.kept
        self.granted = min(self.granted, useful)
        self.wished = wish
        self._used = False

    def _count_seconds(self, second: int) -> None:
        passed = second - self._second
        if passed:
            self._pace_before = self._pace if passed == 1 else 0
            self._pace, self._second = 0, second


class AccountPath:
    """The buckets that one attempt is charged to; `slices` are those that have a limit."""

    __slots__ = ("_budgets", "keys", "slices")

    def __init__(self, keys: tuple[str, ...], slices: tuple[Slice, ...]) -> None:
        self.keys = keys
        self.slices = slices
        self._budgets = tuple(s for s in slices if s.bucket.is_budget and s.bucket.unit == "usd")

    def fits(self, amounts: Amounts, *, waited_for: bool = False) -> bool:
        """Return whether every slice has so much left, and nobody waits for it already."""
        for slice_ in self.slices:
            if slice_.left() < amounts[slice_.measure] or (slice_.is_waited_for and not waited_for):
                return False
        return True

    def take(self, amounts: Amounts) -> None:
        """Hold so much on every level."""
        for slice_ in self.slices:
            slice_.take(amounts[slice_.measure])

    def give_back(self, amounts: Amounts, charges: Amounts) -> None:
        """End a hold of `amounts` that came to cost `charges`."""
        for slice_ in self.slices:
            slice_.held -= amounts[slice_.measure]
            charge = charges[slice_.measure]
            slice_.settled += charge
            slice_.unposted += charge

    def wait_for(self, amounts: Amounts) -> None:
        """Note that a request waits for so much."""
        for slice_ in self.slices:
            slice_.wait_for(amounts[slice_.measure])

    def stop_waiting(self, amounts: Amounts) -> None:
        """Note that a request no longer waits for so much."""
        for slice_ in self.slices:
            slice_.stop_waiting(amounts[slice_.measure])

    def cannot_fit(self, amounts: Amounts) -> Slice | None:
        """Return a slice whose limit is too small even if all other replicas gave back."""
        return next((s for s in self.slices if s.remaining() < amounts[s.measure]), None)

    def falls_short(self, amounts: Amounts) -> Slice | None:
        """Return a slice that is too small although its last answer gave all that there was."""
        return next((s for s in self.slices if s.short and s.left() < amounts[s.measure]), None)

    def more_may_come(self, amounts: Amounts) -> bool:
        """Return whether others hold, unused, what every slice that is too small lacks."""
        return all(s.more_may_come for s in self.slices if s.left() < amounts[s.measure])

    def remaining(self) -> Money | None:
        """Return what the tightest budget has left, in micro-dollars; None without one."""
        return min((s.remaining() for s in self._budgets), default=None)

    def used(self) -> float:
        """Return the used share of the budget of money that is used most; 0 without one."""
        return max(
            (1 - s.remaining() / s.limit if s.limit else 1.0 for s in self._budgets), default=0.0
        )


class Slices:
    """All slices of a replica, by bucket. `now` is Unix seconds."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._by_bucket: dict[str, Slice] = {}
        self._active: set[Slice] = set()
        self._ended: dict[str, int] = {}
        """What was granted, and settled, of buckets whose windows are over."""
        self._paths: dict[tuple[str, str], tuple[float, AccountPath]] = {}

    def path(self, account: str, now: float, provider: str = "") -> AccountPath:
        """Return the account's path in the windows of `now` (Unix seconds).

        With a provider, what it is limited to comes last.
        """
        until, path = self._paths.get((account, provider), (-inf, None))
        if path is None or now >= until:
            until, path = self._new_path(account, now, provider)
            self._paths[account, provider] = until, path
        return path

    def wishes(self, now: float) -> dict[str, Wish]:
        """Return what to ask for; what is no longer wished for is given up before it is said."""
        wishes: dict[str, Wish] = {}
        for slice_ in list(self._active):
            wish = slice_.wish(now)
            if wish == slice_.wished and slice_.is_idle():
                self._drop(slice_, now)
                continue
            slice_.give_up(wish)
            wishes[slice_.bucket.key] = wish
        return wishes

    def lose_rates(self) -> None:
        """Give up what is not in use of a minute's limits and of requests at once.

        The Ledger gives a replica's share to others when it has long not heard of it.
        """
        for slice_ in self._by_bucket.values():
            if not slice_.bucket.is_budget:
                slice_.granted = min(slice_.granted, slice_.settled + slice_.held)

    def is_resting(self) -> bool:
        """Return whether there is nothing to ask for, and nothing that others may need back."""
        return all(slice_.is_resting() for slice_ in self._active)

    def posted(self, settlements: Iterable[Settlement]) -> None:
        """Note that these are in the Ledger's books now."""
        for settlement in settlements:
            charges = settlement.charges()
            for key in settlement.reservation.buckets:
                slice_ = self._by_bucket.get(key)
                if slice_ is not None:
                    slice_.unposted -= charges[slice_.measure]

    def hear(self, grants: Mapping[str, Grant]) -> None:
        """Take over the Ledger's answer to the latest wishes."""
        for key, grant in grants.items():
            slice_ = self._by_bucket.get(key)
            if slice_ is None:
                continue  # it rests since the message was sent
            slice_.granted, slice_.spent = grant.granted, grant.spent
            slice_.short = grant.granted < slice_.wished.need
            slice_.scarce, slice_.more_may_come = grant.scarce, grant.more_may_come
            slice_.frees_in = grant.frees_in

    def _drop(self, slice_: Slice, now: float) -> None:
        """Let an idle slice rest, and forget it once its window is over."""
        self._active.discard(slice_)
        ends = slice_.bucket.resets_at
        if ends is not None and ends < now:
            key = slice_.bucket.key
            if self._by_bucket.pop(key, None) is not None:
                # For the Ledger both are cumulative; a clock that steps back may need them again.
                self._ended[key] = slice_.granted
                self._paths = {
                    name: (until, path)
                    for name, (until, path) in self._paths.items()
                    if slice_ not in path.slices
                }

    def _new_slice(self, bucket: Bucket, limit: int) -> Slice:
        slice_ = self._by_bucket[bucket.key] = Slice(bucket, limit, self._active)
        slice_.granted = slice_.settled = self._ended.pop(bucket.key, 0)
        return slice_

    def _new_path(self, account: str, now: float, provider: str) -> tuple[float, AccountPath]:
        buckets = budget.path(self._accounts, account, now)
        limits = PROVIDER + provider
        if limits in self._accounts:
            buckets += budget.path(self._accounts, limits, now)
        limited = tuple(
            self._by_bucket.get(bucket.key) or self._new_slice(bucket, bucket.limit)
            for bucket in buckets
            if bucket.limit is not None
        )
        ends = (b.resets_at for b in buckets if b.resets_at is not None)
        return min(ends, default=inf), AccountPath(tuple(b.key for b in buckets), limited)
