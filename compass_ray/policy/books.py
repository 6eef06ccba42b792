"""The Ledger's books and how a group of messages changes them. Pure.

A settlement is known by its reservation's id and is posted once, however often and by whomever it
is reported. A replica's wishes count in the order in which it sent them: what arrives late is not
acted on, because the replica has long relied on a newer answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import inf

from compass_ray.policy import budget
from compass_ray.policy.alerts import crossed
from compass_ray.policy.budget import Pot
from compass_ray.types.accounts import Account
from compass_ray.types.events import Settlement
from compass_ray.types.money import Alert, Balance, Grant, Sync, SyncReply
from compass_ray.types.usage import MAX_MONEY

_SCARCE_FOR = 2.0
"""Seconds for which replicas are asked to give back, after a need could not be met: longer than
the pause between two messages of a replica, or a busy one would never hear of it."""
_SILENT_FOR = 60.0
"""Seconds after which a silent replica's share of a rate is given to others. Its share of a budget
waits for its journal: what it spent is unknown until then."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The last message of one replica that was acted on; a closed one gets no more grants."""

    seq: int = 0
    closed: bool = False


@dataclass(slots=True)
class Books:
    """Pots by bucket and replicas' progress by name: all, but what `forget` left to the disk."""

    pots: dict[str, Pot] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict, compare=False)
    """When each replica was last heard of, by name; not stored."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one group of messages changed: values to store, and rows to add."""

    pots: Mapping[str, Pot]
    """By bucket; each is stored whole, with its leases."""
    progress: Mapping[str, Progress]
    postings: Sequence[tuple[str, Settlement]]
    """(replica, settlement)."""
    alerts: Sequence[Alert] = ()
    """Thresholds that were crossed; one of them may have been told before the limit was raised."""


def apply(
    books: Books,
    accounts: Mapping[str, Account],
    requests: Sequence[Sync],
    posted: AbstractSet[str],
    now: float,
    *,
    percents: Sequence[int] = (),
) -> tuple[Changes, list[SyncReply]]:
    """Post the settlements and move the leases; `posted` are the ids that were posted before.

    `now` is any clock that does not step back. `percents` are the shares of a limit whose
    crossing is told. The replies may be sent once the changes are durable.
    """
    touched: set[str] = set()
    before: dict[str, tuple[int, float]] = {}
    postings: dict[str, tuple[str, Settlement]] = {}
    replies = []
    for request in requests:
        books.heard[request.replica] = now
        for settlement in request.settlements:
            reservation = settlement.reservation
            if reservation.id not in posted and reservation.id not in postings:
                postings[reservation.id] = (request.replica, settlement)
                _post(books, request.replica, settlement, before, now)
                touched.update(reservation.buckets)
        progress = books.progress.get(request.replica, Progress())
        if request.seq > progress.seq and not progress.closed:
            touched |= _lease(books, accounts, request, now)
            progress = Progress(request.seq, request.closing)
        books.progress[request.replica] = progress
        grants = {key: _grant(books, accounts, request, key, now) for key in request.wishes}
        replies.append(SyncReply(request.seq, grants))
    changes = Changes(
        {key: books.pots[key] for key in touched},
        {request.replica: books.progress[request.replica] for request in requests},
        list(postings.values()),
        list(_alerts(books, accounts, before, percents)),
    )
    return changes, replies


def forget(books: Books, now: float, over: float) -> None:
    """Drop what will hardly be needed again: windows that are over, and replicas that are closed.

    They must be stored, and be put back before a message that names them is applied. `now` is the
    clock of `apply`, `over` the Unix seconds by which a window must have been over.
    """
    for key in [key for key, pot in books.pots.items() if not pot.leased]:
        if budget.is_over(key, over):
            del books.pots[key]
    for name in [name for name, progress in books.progress.items() if progress.closed]:
        if now - books.heard.get(name, -inf) > _SILENT_FOR:
            del books.progress[name]
            books.heard.pop(name, None)


def lacks(
    books: Books, requests: Sequence[Sync], over: float
) -> tuple[list[str], list[str], list[str]]:
    """Return what `forget` may have dropped: buckets, replicas, and replicas that give all back."""
    reserved = (s.reservation.buckets for request in requests for s in request.settlements)
    keys = {key for some in (*reserved, *(request.wishes for request in requests)) for key in some}
    return (
        [key for key in keys - books.pots.keys() if budget.is_over(key, over)],
        list({request.replica for request in requests} - books.progress.keys()),
        [request.replica for request in requests if request.closing],
    )


def balance(books: Books, accounts: Mapping[str, Account], key: str, now: float) -> Balance:
    """Return how a bucket stands; one that was never used is empty."""
    pot = _pot(books, key, now) if key in books.pots else Pot()
    return Balance(key, budget.limit_of(accounts, key), pot.spent, pot.leased)


def overtaken(
    books: Books,
    before: Mapping[str, Account],
    after: Mapping[str, Account],
    percents: Sequence[int],
    at: float,
) -> Iterator[Alert]:
    """Yield the thresholds that are reached because limits changed, in the windows of now.

    `at` is Unix seconds. What was reached under the limits of `before` was told then.
    """
    for name in after:
        for bucket in budget.path(after, name, at):
            pot = books.pots.get(bucket.key)
            if bucket.account != name or bucket.limit is None or not bucket.is_budget or not pot:
                continue
            old = budget.limit_of(before, bucket.key)
            told = () if old is None else crossed(old, 0, pot.spent, percents)
            for percent in crossed(bucket.limit, 0, pot.spent, percents):
                if percent not in told:
                    yield Alert(bucket.key, name, bucket.unit, percent, pot.spent, bucket.limit, at)


def _post(
    books: Books,
    replica: str,
    settlement: Settlement,
    before: dict[str, tuple[int, float]],
    now: float,
) -> None:
    """Charge every bucket; `before` gets what it had spent, for those that had not been there."""
    charges = settlement.charges()
    for key in settlement.reservation.buckets:
        pot, amount = _pot(books, key, now), charges[budget.measure(key)]
        if budget.is_minute(key):
            budget.settle(pot, replica, amount, now)
            continue
        before.setdefault(key, (pot.spent, settlement.at))
        if settlement.outcome == "adjusted":
            pot.spent += amount  # out of nobody's slice
        else:
            budget.settle(pot, replica, amount)


def _alerts(
    books: Books,
    accounts: Mapping[str, Account],
    before: Mapping[str, tuple[int, float]],
    percents: Sequence[int],
) -> Iterator[Alert]:
    """Yield what was crossed; `before` is what each bucket had spent, and when it spent more."""
    for key, (spent, at) in before.items():
        limit = budget.limit_of(accounts, key)
        if limit is not None:
            account, _, unit = budget.parse(key)
            now = books.pots[key].spent
            for percent in crossed(limit, spent, now, percents):
                yield Alert(key, account, unit, percent, now, limit, at)


def _lease(books: Books, accounts: Mapping[str, Account], request: Sync, now: float) -> set[str]:
    """Move the replica's leases; return the buckets touched."""
    if request.closing:
        held = {key for key, pot in books.pots.items() if request.replica in pot.leases}
        for key in held:
            budget.release(books.pots[key], request.replica)
        return held
    touched = set()
    for key, wish in request.wishes.items():
        pot = _pot(books, key, now)
        budget.grant(pot, _limit(accounts, key), request.replica, wish, now, scarce_for=_SCARCE_FOR)
        touched.add(key)
    return touched


def _grant(
    books: Books, accounts: Mapping[str, Account], request: Sync, key: str, now: float
) -> Grant:
    pot, wish, replica = _pot(books, key, now), request.wishes[key], request.replica
    granted = pot.leases.get(replica, budget.Lease()).granted
    limit = _limit(accounts, key)
    return Grant(
        granted,
        pot.spent,
        scarce=now < pot.scarce_until,
        more_may_come=granted < wish.least and budget.may_come(pot, limit, replica, wish),
        frees_in=budget.frees_in(pot, limit, wish, now) if budget.is_minute(key) else 0.0,
    )


def _limit(accounts: Mapping[str, Account], key: str) -> int:
    """Return a bucket's limit; one that was taken away binds nobody who still knows it."""
    limit = budget.limit_of(accounts, key)
    return MAX_MONEY if limit is None else limit


def _pot(books: Books, key: str, now: float) -> Pot:
    pot = books.pots.setdefault(key, Pot())
    if budget.is_minute(key):
        budget.forget(pot, now)
    if not budget.is_budget(key):
        for replica in pot.leases:
            if now - books.heard.setdefault(replica, now) > _SILENT_FOR:
                budget.take_back(pot, replica)
    return pot
