"""Ledger actor: the one authority over money. It loads, decides by `policy.books`, and stores."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from compass_ray.actors.alerts import Messenger
from compass_ray.actors.group_commit import GroupCommit, OneThread
from compass_ray.policy import books
from compass_ray.storage.ledger import LedgerStore
from compass_ray.types.accounts import Account
from compass_ray.types.money import Alert, Balance, Sync, SyncReply
from compass_ray.types.settings import AlertSettings

_log = logging.getLogger("compass.ledger")

_MAX_GROUP = 256

_FORGET_EVERY = 600.0
"""Seconds."""


class LedgerActor:
    """The books of one state folder. `clock` is seconds that never step back, `wall` Unix ones."""

    def __init__(
        self,
        file: Path,
        accounts: Mapping[str, Account],
        percents: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
        fail: Callable[[int], object] = os._exit,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = LedgerStore(file)
        self._disk = OneThread("ledger")
        self._accounts = accounts
        self._percents = percents
        self._messenger = Messenger[Alert](self)
        self._clock = clock
        self._wall = wall
        self._fail = fail
        self._over = wall()
        """Windows that were over by then (Unix seconds) may be on the disk alone."""
        self._books = self._store.load(self._over)
        # After a crash the actor is made anew of what it was made of at first, and told nothing.
        kept = self._store.configured()
        if kept is not None:
            self._adopt(*kept)
        self._group = GroupCommit(self._commit, self._end, _MAX_GROUP)

    async def sync(self, request: Sync) -> SyncReply:
        """Post a replica's settlements and move its leases towards its wishes; safe to repeat.

        The answer means that both are on disk.
        """
        return await self._group.post(request)

    async def configure(self, accounts: Mapping[str, Account], alerts: AlertSettings) -> None:
        """Take over changed accounts; a limit below what is spent only stops new grants.

        They are on disk when this returns, and hold after every restart. So are the alerts of what
        is suddenly used up so far.
        """
        told = books.overtaken(self._books, self._accounts, accounts, alerts.percents, self._wall())
        changes = books.Changes({}, {}, (), list(told))
        # Alerts first: where this breaks off, they are found again, and kept once.
        await self._disk.run(partial(self._store.commit, changes))
        await self._disk.run(partial(self._store.configure, accounts, alerts))
        self._adopt(accounts, alerts)
        self._messenger.look()

    async def balances(self, buckets: tuple[str, ...]) -> list[Balance]:
        """Return the books of those buckets; one that was never used is empty."""
        told = {key: self._balance(self._books, key) for key in self._books.pots.keys() & buckets}
        old = [key for key in buckets if key not in told]
        if old:  # never used, or forgotten
            read = await self._disk.run(partial(self._store.read, old))
            told |= {key: self._balance(read, key) for key in old}
        return [told[key] for key in buckets]

    async def postings(self, request_id: str) -> list[dict[str, object]]:
        """Return every posting of a request, attempt by attempt."""
        return await self._disk.run(partial(self._store.postings, request_id))

    async def alerts(self) -> list[Alert]:
        """Return all alerts, the oldest first."""
        return await self._disk.run(self._store.alerts)

    async def undelivered(self) -> list[Alert]:
        """Return the alerts that nobody was told of yet, the oldest first."""
        return await self._disk.run(partial(self._store.alerts, undelivered=True))

    async def delivered(self, alert: Alert) -> None:
        """Note that somebody was told."""
        await self._disk.run(partial(self._store.mark_delivered, alert))

    def _balance(self, read: books.Books, key: str) -> Balance:
        return books.balance(read, self._accounts, key, self._clock())

    async def _commit(self, requests: Sequence[Sync]) -> list[SyncReply]:
        """Apply a group and return its replies once they are true on disk."""
        ids = [s.reservation.id for request in requests for s in request.settlements]
        posted = await self._disk.run(partial(self._store.posted, ids)) if ids else set()
        await self._recall(requests)
        changes, replies = books.apply(
            self._books,
            self._accounts,
            requests,
            posted,
            self._clock(),
            percents=self._percents,
        )
        await self._disk.run(partial(self._store.commit, changes))
        if changes.alerts:
            self._messenger.look()
        if self._wall() > self._over + _FORGET_EVERY:
            self._over = self._wall()
            books.forget(self._books, self._clock(), self._over)
        return replies

    async def _recall(self, requests: Sequence[Sync]) -> None:
        """Read what these messages name and was forgotten, or never known."""
        lacking = books.lacks(self._books, requests, self._over)
        if any(lacking):
            read = await self._disk.run(partial(self._store.read, *lacking))
            for key, pot in read.pots.items():
                self._books.pots.setdefault(key, pot)
            self._books.progress |= read.progress

    def _adopt(self, accounts: Mapping[str, Account], alerts: AlertSettings) -> None:
        self._accounts = accounts
        self._percents = alerts.percents
        self._messenger.webhook = alerts.webhook

    def _end(self) -> None:
        _log.exception("the ledger cannot write its books and ends")
        self._fail(1)
