"""Ledger actor: the one authority over money. It loads, decides by `policy.budget`, and stores.

Messages that wait while a group is being written form the next group; each is answered only when
its group is on disk. If the disk refuses, the process ends: after a restart the books are what
the disk says, and replicas repeat what was not acknowledged.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from compass_ray.policy import budget
from compass_ray.policy.budget import Pot
from compass_ray.storage.ledger import Changes, LedgerStore, Progress
from compass_ray.types.accounts import Account
from compass_ray.types.events import Settlement
from compass_ray.types.money import Balance, Grant, Sync, SyncReply

_log = logging.getLogger("compass.ledger")

_SCARCE_FOR = 0.3
"""Seconds for which replicas are asked to give back, after a need could not be met."""
_MAX_GROUP = 256


class LedgerActor:
    """The books of one state folder. `clock` is Unix seconds."""

    def __init__(
        self,
        file: Path,
        accounts: Mapping[str, Account],
        clock: Callable[[], float] = time.time,
        fail: Callable[[int], object] = os._exit,
    ) -> None:
        self._store = LedgerStore(file)
        self._accounts = accounts
        self._clock = clock
        self._fail = fail
        self._pots, self._progress = self._store.load()
        self._waiting: list[tuple[Sync, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def sync(self, request: Sync) -> SyncReply:
        """Post a replica's settlements and move its leases towards its wishes; safe to repeat.

        The answer means that both are on disk.
        """
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((request, durable))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await durable
        progress = self._progress[request.replica]
        grants = {key: self._grant_now(key, request.replica) for key in request.wishes}
        return SyncReply(request.seq, progress.posted, grants)

    async def configure(self, accounts: Mapping[str, Account]) -> None:
        """Take over changed accounts; a limit below what is spent only stops new grants."""
        self._accounts = accounts

    async def balances(self, buckets: tuple[str, ...]) -> list[Balance]:
        """Return the books of those buckets; one that was never used is empty."""
        pots = ((key, self._pots.get(key, Pot())) for key in buckets)
        return [
            Balance(key, budget.limit_of(self._accounts, key), pot.spent, pot.leased)
            for key, pot in pots
        ]

    async def postings(self, request_id: str) -> list[dict[str, object]]:
        """Return every posting of a request, attempt by attempt."""
        return await asyncio.to_thread(self._store.postings, request_id)

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_MAX_GROUP], self._waiting[_MAX_GROUP:]
            changes = self._apply([request for request, _ in group])
            try:
                await asyncio.to_thread(self._store.commit, changes)
            except Exception:
                _log.exception("the ledger cannot write its books and ends")
                self._fail(1)
                raise
            for _, durable in group:
                if not durable.done():
                    durable.set_result(None)
        self._writing = None

    def _apply(self, requests: list[Sync]) -> Changes:
        touched: set[str] = set()
        postings: list[tuple[str, Settlement]] = []
        for request in requests:
            progress = self._progress.get(request.replica, Progress())
            known = progress.posted - request.first + 1
            for settlement in request.settlements[max(0, known) :]:
                for key in settlement.reservation.buckets:
                    budget.settle(self._pot(key), request.replica, settlement.cost)
                    touched.add(key)
                postings.append((request.replica, settlement))
            posted = max(progress.posted, request.first + len(request.settlements) - 1)
            progress = replace(progress, posted=posted)
            if request.seq > progress.seq and not progress.closed:
                touched |= self._lease(request)
                progress = replace(progress, seq=request.seq, closed=request.closing)
            self._progress[request.replica] = progress
        return Changes(
            {key: self._pots[key] for key in touched},
            {request.replica: self._progress[request.replica] for request in requests},
            postings,
        )

    def _lease(self, request: Sync) -> set[str]:
        """Move the replica's leases; return the buckets touched."""
        if request.closing:
            held = {key for key, pot in self._pots.items() if request.replica in pot.leases}
            for key in held:
                budget.release(self._pots[key], request.replica)
            return held
        now = self._clock()
        for key, wish in request.wishes.items():
            limit = budget.limit_of(self._accounts, key)
            if limit is not None:
                pot = self._pot(key)
                budget.grant(pot, limit, request.replica, wish, now, scarce_for=_SCARCE_FOR)
        return set(request.wishes) & set(self._pots)

    def _grant_now(self, key: str, replica: str) -> Grant:
        pot = self._pot(key)
        lease = pot.leases.get(replica, budget.Lease())
        limit = budget.limit_of(self._accounts, key) or 0
        free = limit - pot.spent - pot.leased
        return Grant(lease.granted, pot.spent, free, self._clock() < pot.scarce_until)

    def _pot(self, key: str) -> Pot:
        return self._pots.setdefault(key, Pot())
