"""Ledger actor: the one authority over money. It loads, decides by `policy.books`, and stores.

Messages that wait while a group is being written form the next group; each is answered only when
its group is on disk. If the disk refuses, the process ends: after a restart the books are what
the disk says, and replicas repeat what was not acknowledged.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from compass_ray.actors.alerts import Messenger
from compass_ray.policy import books
from compass_ray.storage.ledger import LedgerStore
from compass_ray.types.accounts import Account
from compass_ray.types.money import Alert, Balance, Sync, SyncReply
from compass_ray.types.settings import AlertSettings

_log = logging.getLogger("compass.ledger")

_MAX_GROUP = 256

_T = TypeVar("_T")


class LedgerActor:
    """The books of one state folder. `clock` is seconds that never step back."""

    def __init__(
        self,
        file: Path,
        accounts: Mapping[str, Account],
        percents: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
        fail: Callable[[int], object] = os._exit,
    ) -> None:
        self._store = LedgerStore(file)
        self._disk = ThreadPoolExecutor(1, "ledger")
        self._accounts = accounts
        self._percents = percents
        self._messenger = Messenger(self)
        self._clock = clock
        self._fail = fail
        self._books = self._store.load()
        self._waiting: list[tuple[Sync, asyncio.Future[SyncReply]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def sync(self, request: Sync) -> SyncReply:
        """Post a replica's settlements and move its leases towards its wishes; safe to repeat.

        The answer means that both are on disk.
        """
        answer: asyncio.Future[SyncReply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await answer

    async def configure(self, accounts: Mapping[str, Account], alerts: AlertSettings) -> None:
        """Take over changed accounts; a limit below what is spent only stops new grants."""
        self._accounts = accounts
        self._percents = alerts.percents
        self._messenger.webhook = alerts.webhook
        self._messenger.look()

    async def balances(self, buckets: tuple[str, ...]) -> list[Balance]:
        """Return the books of those buckets; one that was never used is empty."""
        now = self._clock()
        return [books.balance(self._books, self._accounts, key, now) for key in buckets]

    async def postings(self, request_id: str) -> list[dict[str, object]]:
        """Return every posting of a request, attempt by attempt."""
        return await self._on_disk(partial(self._store.postings, request_id))

    async def alerts(self) -> list[Alert]:
        """Return all alerts, the oldest first."""
        return await self._on_disk(self._store.alerts)

    async def undelivered(self) -> list[Alert]:
        """Return the alerts that nobody was told of yet, the oldest first."""
        return await self._on_disk(partial(self._store.alerts, undelivered=True))

    async def delivered(self, alert: Alert) -> None:
        """Note that somebody was told."""
        await self._on_disk(partial(self._store.mark_delivered, alert))

    async def _write(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_MAX_GROUP], self._waiting[_MAX_GROUP:]
                replies = await self._commit([request for request, _ in group])
                for (_, answer), reply in zip(group, replies, strict=True):
                    if not answer.done():
                        answer.set_result(reply)
        except Exception:
            _log.exception("the ledger cannot write its books and ends")
            self._fail(1)
            raise
        self._writing = None

    async def _commit(self, requests: list[Sync]) -> list[SyncReply]:
        """Apply a group and return its replies once they are true on disk."""
        ids = [s.reservation.id for request in requests for s in request.settlements]
        posted = await self._on_disk(partial(self._store.posted, ids)) if ids else set()
        changes, replies = books.apply(
            self._books,
            self._accounts,
            requests,
            posted,
            self._clock(),
            percents=self._percents,
        )
        await self._on_disk(partial(self._store.commit, changes))
        if changes.alerts:
            self._messenger.look()
        return replies

    async def _on_disk(self, work: Callable[[], _T]) -> _T:
        """Run in the one thread that uses the file, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)
