"""The Ledger's books and how a group of messages changes them. Pure.

A settlement is known by its reservation's id and is posted once, however often and by whomever it
is reported. A replica's wishes count in the order in which it sent them: what arrives late is not
acted on, because the replica has long relied on a newer answer.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from compass_ray.policy import budget
from compass_ray.policy.budget import Pot
from compass_ray.types.accounts import Account
from compass_ray.types.events import Settlement
from compass_ray.types.money import Balance, Grant, Sync, SyncReply

_SCARCE_FOR = 2.0
"""Seconds for which replicas are asked to give back, after a need could not be met: longer than
the pause between two messages of a replica, or a busy one would never hear of it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The last message of one replica that was acted on; a closed one gets no more grants."""

    seq: int = 0
    closed: bool = False


@dataclass(slots=True)
class Books:
    """All pots by bucket, and all replicas' progress by name."""

    pots: dict[str, Pot] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What one group of messages changed: values to store, and rows to add."""

    pots: Mapping[str, Pot]
    """By bucket; each is stored whole, with its leases."""
    progress: Mapping[str, Progress]
    postings: Sequence[tuple[str, Settlement]]
    """(replica, settlement)."""


def apply(
    books: Books,
    accounts: Mapping[str, Account],
    requests: Sequence[Sync],
    posted: AbstractSet[str],
    now: float,
) -> tuple[Changes, list[SyncReply]]:
    """Post the settlements and move the leases; `posted` are the ids that were posted before.

    `now` is any clock that does not step back. The replies may be sent once the changes are
    durable.
    """
    touched: set[str] = set()
    postings: dict[str, tuple[str, Settlement]] = {}
    replies = []
    for request in requests:
        for settlement in request.settlements:
            reservation = settlement.reservation
            if reservation.id not in posted and reservation.id not in postings:
                postings[reservation.id] = (request.replica, settlement)
                for key in reservation.buckets:
                    budget.settle(_pot(books, key), request.replica, settlement.cost)
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
    )
    return changes, replies


def balance(books: Books, accounts: Mapping[str, Account], key: str) -> Balance:
    """Return how a bucket stands; one that was never used is empty."""
    pot = books.pots.get(key, Pot())
    return Balance(key, budget.limit_of(accounts, key), pot.spent, pot.leased)


def _lease(books: Books, accounts: Mapping[str, Account], request: Sync, now: float) -> set[str]:
    """Move the replica's leases; return the buckets touched."""
    if request.closing:
        held = {key for key, pot in books.pots.items() if request.replica in pot.leases}
        for key in held:
            budget.release(books.pots[key], request.replica)
        return held
    touched = set()
    for key, wish in request.wishes.items():
        limit = budget.limit_of(accounts, key)
        if limit is not None:
            pot = _pot(books, key)
            budget.grant(pot, limit, request.replica, wish, now, scarce_for=_SCARCE_FOR)
            touched.add(key)
    return touched


def _grant(
    books: Books, accounts: Mapping[str, Account], request: Sync, key: str, now: float
) -> Grant:
    pot, wish = books.pots.get(key, Pot()), request.wishes[key]
    granted = pot.leases.get(request.replica, budget.Lease()).granted
    limit = budget.limit_of(accounts, key)
    lacks = limit is not None and granted < wish.least
    more = lacks and budget.may_come(pot, limit or 0, request.replica, wish)
    return Grant(granted, pot.spent, now < pot.scarce_until, more)


def _pot(books: Books, key: str) -> Pot:
    return books.pots.setdefault(key, Pot())
