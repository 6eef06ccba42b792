"""What this replica holds of each budget, and the arithmetic of using it. No I/O, no clock."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import inf

from compass_ray.policy import budget
from compass_ray.policy.budget import Bucket
from compass_ray.types.accounts import Account
from compass_ray.types.events import Settlement
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
        *("_active", "_pace", "_pace_before", "_second", "bucket", "granted", "held", "limit"),
        *("_used", "_waiting", "more_may_come", "scarce", "settled", "short", "spent"),
        *("unposted", "wished"),
    )

    def __init__(self, bucket: Bucket, limit: Money, active: "set[Slice]") -> None:
        """Join `active` whenever there may be something to ask for."""
        self._active = active
        self.bucket = bucket
        self.limit = limit
        self.granted: Money = 0
        self.settled: Money = 0
        self.held: Money = 0
        self.spent: Money = 0
        self.unposted: Money = 0
        self.scarce = False
        self.short = False
        self.more_may_come = False
        self.wished = Wish(0, 0, 0, 0)
        self._waiting: Counter[Money] = Counter()
        self._used = False
        self._second = 0
        self._pace: Money = 0
        self._pace_before: Money = 0

    def left(self) -> Money:
        """Return what may still be held out of this slice."""
        return self.granted - self.settled - self.held

    def remaining(self) -> Money:
        """Return what the whole budget has left, as far as known."""
        return max(0, self.limit - self.spent - self.unposted - self.held)

    def take(self, amount: Money) -> None:
        """Hold; counted for the pace."""
        self.held += amount
        self._pace += amount
        self._used = True
        self._active.add(self)

    def wait_for(self, amount: Money) -> None:
        """Note that a request waits for so much."""
        self._waiting[amount] += 1
        self._active.add(self)

    def stop_waiting(self, amount: Money) -> None:
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
    """The buckets of one account and all above it; `slices` are those that have a limit."""

    __slots__ = ("keys", "slices")

    def __init__(self, keys: tuple[str, ...], slices: tuple[Slice, ...]) -> None:
        self.keys = keys
        self.slices = slices

    def fits(self, amount: Money, *, waited_for: bool = False) -> bool:
        """Return whether every slice has so much left, and nobody waits for it already."""
        for slice_ in self.slices:
            if slice_.left() < amount or (slice_.is_waited_for and not waited_for):
                return False
        return True

    def take(self, amount: Money) -> None:
        """Hold so much on every level."""
        for slice_ in self.slices:
            slice_.take(amount)

    def give_back(self, amount: Money, cost: Money) -> None:
        """End a hold of `amount` that came to cost `cost`."""
        for slice_ in self.slices:
            slice_.held -= amount
            slice_.settled += cost
            slice_.unposted += cost

    def wait_for(self, amount: Money) -> None:
        """Note that a request waits for so much."""
        for slice_ in self.slices:
            slice_.wait_for(amount)

    def stop_waiting(self, amount: Money) -> None:
        """Note that a request no longer waits for so much."""
        for slice_ in self.slices:
            slice_.stop_waiting(amount)

    def cannot_fit(self, amount: Money) -> Slice | None:
        """Return a slice whose budget is too small even if all other replicas gave back."""
        return next((s for s in self.slices if s.remaining() < amount), None)

    def falls_short(self, amount: Money) -> Slice | None:
        """Return a slice that is too small although its last answer gave all that there was."""
        return next((s for s in self.slices if s.short and s.left() < amount), None)

    def more_may_come(self, amount: Money) -> bool:
        """Return whether others hold, unused, what every slice that is too small lacks."""
        return all(s.more_may_come for s in self.slices if s.left() < amount)

    def remaining(self) -> Money | None:
        """Return what the tightest budget has left; None without a budget."""
        return min((s.remaining() for s in self.slices), default=None)


class Slices:
    """All slices of a replica, by bucket. `now` is Unix seconds."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._by_bucket: dict[str, Slice] = {}
        self._active: set[Slice] = set()
        self._paths: dict[str, tuple[float, AccountPath]] = {}

    def path(self, account: str, now: float) -> AccountPath:
        """Return the account's path in the windows of `now` (Unix seconds)."""
        until, path = self._paths.get(account, (-inf, None))
        if path is None or now >= until:
            until, path = self._new_path(account, now)
            self._paths[account] = until, path
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

    def is_resting(self) -> bool:
        """Return whether there is nothing to ask for, and nothing that others may need back."""
        return all(slice_.is_resting() for slice_ in self._active)

    def posted(self, settlements: Iterable[Settlement]) -> None:
        """Note that these are in the Ledger's books now."""
        for settlement in settlements:
            for key in settlement.reservation.buckets:
                slice_ = self._by_bucket.get(key)
                if slice_ is not None:
                    slice_.unposted -= settlement.cost

    def hear(self, grants: Mapping[str, Grant]) -> None:
        """Take over the Ledger's answer to the latest wishes."""
        for key, grant in grants.items():
            slice_ = self._by_bucket[key]
            slice_.granted, slice_.spent = grant.granted, grant.spent
            slice_.short = grant.granted < slice_.wished.need
            slice_.scarce, slice_.more_may_come = grant.scarce, grant.more_may_come

    def _drop(self, slice_: Slice, now: float) -> None:
        """Let an idle slice rest, and forget it once its window is over."""
        self._active.discard(slice_)
        ends = slice_.bucket.resets_at
        if ends is not None and ends < now:
            del self._by_bucket[slice_.bucket.key]

    def _new_path(self, account: str, now: float) -> tuple[float, AccountPath]:
        buckets = budget.path(self._accounts, account, now)
        limited = tuple(
            self._by_bucket.setdefault(bucket.key, Slice(bucket, bucket.limit, self._active))
            for bucket in buckets
            if bucket.limit is not None
        )
        ends = (b.resets_at for b in buckets if b.resets_at is not None)
        return min(ends, default=inf), AccountPath(tuple(b.key for b in buckets), limited)
