"""A replica's money: slices of budgets leased from the Ledger, and the journal of their use.

A hold takes from the local slices of every budget on the account's path, or from none, without
asking anybody. Every 100 ms what was settled goes to the Ledger, with a wish for the next slices;
a slice that nobody used for two seconds goes back. Only a hold that does not fit waits for an
answer, at most `Patience`.

Staleness: none for the limit, because a slice already counts as spent. `remaining` is an
estimate: the other replicas' spending is known as of the last answer.

Single-threaded: all methods on one event loop. `now` is Unix seconds.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from compass_ray.gateway.recovery import recover
from compass_ray.gateway.slices import AccountPath, Slice, Slices
from compass_ray.storage.journal import Contents, Journal
from compass_ray.types.accounts import PROVIDER, Account, Unit
from compass_ray.types.errors import (
    BudgetExceeded,
    CompassError,
    LedgerUnavailable,
    QuotaExhausted,
    RateLimited,
    TooManyRequests,
)
from compass_ray.types.events import Amounts, Reservation, Settlement
from compass_ray.types.money import MOST_AT_ONCE, Sync, SyncReply
from compass_ray.types.usage import MAX_MONEY, Money, Usage

_log = logging.getLogger("compass.wallet")

_MOST_UNPOSTED = 200_000
"""Settlements that may wait for the Ledger before the replica refuses further work."""


_SOON = 1.0
"""Seconds after which to ask again where nobody knows when others are done."""


class Ledger(Protocol):
    """The Ledger actor, directly or through a handle. Any exception means it is not there."""

    async def sync(self, request: Sync) -> SyncReply:
        """Post settlements and renew leases; safe to repeat."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds."""

    sync_every: float = 0.1
    heartbeat: float = 1.0
    scarce: float = 0.3
    """A hold that nobody can help waits so long: what is under way may cost less than reserved."""
    given_back: float = 2.0
    """Others may give back what they do not use for so long before a hold is refused."""
    silent: float = 2.0
    """The Ledger may restart for so long."""
    rates: float = 30.0
    """So long without a word of the Ledger, leased rates may be used: less than until it gives
    them to others."""
    recover_every: float = 1.0
    close: float = 10.0


class Hold:
    """Money set aside for one attempt; the first of `settle` and `void` ends it."""

    __slots__ = ("_amounts", "_ended", "_path", "_wallet", "reservation")

    def __init__(
        self, wallet: "Wallet", path: AccountPath, amounts: Amounts, reservation: Reservation
    ) -> None:
        self._wallet = wallet
        self._path = path
        self._amounts = amounts
        self._ended = False
        self.reservation = reservation

    def settle(self, cost: Money, usage: Usage, provider: str, model: str, now: float) -> None:
        """Charge what the call cost; journaled before this returns.

        An absurd figure is not posted: the reserved amount is charged instead.
        """
        amount = self.reservation.amount
        if not (0 <= cost <= MAX_MONEY and usage.is_credible()):
            _log.error("%s reports %d for %s: charged as reserved", provider, cost, model)
            cost, usage = amount, Usage(estimated=True)
        elif cost > amount:
            _log.warning("%s charges %d for %s, reserved were %d", provider, cost, model, amount)
        self._end(Settlement(self.reservation, "settled", cost, provider, model, usage, now))

    def void(self, now: float) -> None:
        """Give everything back: nothing was produced."""
        self._end(Settlement(self.reservation, "voided", 0, "", "", Usage(), now))

    def _end(self, settlement: Settlement) -> None:
        if not self._ended:
            self._ended = True
            self._wallet.end(self._path, self._amounts, settlement)


class Wallet:
    """The money of one replica, whose name is never used again."""

    def __init__(
        self,
        ledger: Ledger,
        replica: str,
        accounts: Mapping[str, Account],
        state_dir: Path,
        patience: Patience | None = None,
    ) -> None:
        self._ledger = ledger
        self._replica = replica
        self._slices = Slices(accounts)
        self._folder = state_dir / "journal"
        self._journal = Journal(self._folder, replica)
        self._patience = patience or Patience()
        self._open: dict[str, Reservation] = {}
        self._unposted: deque[Settlement] = deque()
        self._first = 1
        """Number of the first that is unposted; they are numbered without gaps."""
        self._disk_refuses = False
        self._seq = 0
        self._urgent = asyncio.Event()
        self._answered = asyncio.Event()
        self._synced_at = 0.0
        self._heard_seq = 0
        self._heard_at = 0.0
        self.waiting = 0
        """Requests that wait for the Ledger's answer."""

    async def hold(
        self, reservation_id: str, account: str, provider: str, amounts: Amounts, now: float
    ) -> Hold:
        """Set `amounts` aside on every level of the account's path and of the provider's, or none.

        Raises:
            BudgetExceeded: names the account on the path that has not that much left.
            TooManyRequests: names the account that has used up its minute, and says when to ask
                again.
            RateLimited, QuotaExhausted: it is the provider that may not be used more.
            LedgerUnavailable: the slices are used up and nobody renews them, or the journal
                cannot be written.
        """
        if len(self._unposted) >= _MOST_UNPOSTED:
            raise LedgerUnavailable("too many settlements wait for the ledger")
        path = self._slices.path(account, now, provider)
        if not path.fits(amounts):
            await self._wait_until_it_fits(path, amounts)
        reservation = Reservation(reservation_id, path.keys, amounts.usd, now, amounts.tokens)
        try:
            self._journal.reserve(reservation)
        except OSError as exc:
            self._note_disk(exc)
            raise LedgerUnavailable(f"the journal cannot be written: {exc.strerror}") from exc
        self._note_disk(None)
        path.take(amounts)
        self._open[reservation_id] = reservation
        return Hold(self, path, amounts, reservation)

    def remaining(self, account: str, now: float) -> Money | None:
        """Return what the tightest budget has left, in micro-dollars; None without one."""
        return self._slices.path(account, now).remaining()

    def used(self, account: str, now: float) -> float:
        """Return the used share of the budget of money that is used most; 0 without one."""
        return self._slices.path(account, now).used()

    def end(self, path: AccountPath, amounts: Amounts, settlement: Settlement) -> None:
        """Book a hold's end, on the journal first."""
        reservation = settlement.reservation
        self._unposted.append(settlement)
        try:
            self._journal.settle(self._first + len(self._unposted) - 1, settlement)
        except OSError as exc:
            self._note_disk(exc)
        del self._open[reservation.id]
        path.give_back(amounts, settlement.charges())

    async def run(self) -> None:
        """Talk with the Ledger, and look for dead replicas' journals, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sync_for_ever())
            tasks.create_task(self._recover_for_ever())

    async def close(self) -> None:
        """Post everything and give the leases back.

        What cannot be posted in time stays in the journal, for the next replica to find.
        """
        try:
            async with asyncio.timeout(self._patience.close):
                while self._unposted:
                    await self.sync()
                if not self._open:
                    self._seq += 1
                    await self._ledger.sync(Sync(self._replica, self._seq, (), closing=True))
        except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
            _log.warning("the journal is left to others: %s", type(error).__name__)
            self._journal.close(delete=False)
        else:
            self._journal.close(delete=not self._open)

    async def sync(self) -> None:
        """Exchange one message with the Ledger; its failure is any exception."""
        loop = asyncio.get_running_loop()
        self._synced_at = loop.time()
        self._urgent.clear()
        self._seq = seq = self._seq + 1
        wishes = self._slices.wishes(time.time())
        settlements = tuple(islice(self._unposted, MOST_AT_ONCE))
        last = self._first + len(settlements) - 1
        async with asyncio.timeout(self._patience.silent):
            reply = await self._ledger.sync(Sync(self._replica, seq, settlements, wishes))
        self._forget(last)
        if seq != self._seq:
            return  # a later message may have given up what this answer grants
        self._slices.hear(reply.grants)
        self._heard_seq, self._heard_at = seq, loop.time()
        self._answered.set()
        self._answered = asyncio.Event()

    async def _wait_until_it_fits(self, path: AccountPath, amounts: Amounts) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        asked = self._seq
        heard = False
        path.wait_for(amounts)
        self.waiting += 1
        try:
            while not path.fits(amounts, waited_for=True):
                if heard:
                    refused = path.cannot_fit(amounts)
                    helped = path.more_may_come(amounts)
                    most = self._patience.given_back if helped else self._patience.scarce
                    if refused is None and loop.time() - began > most:
                        refused = path.falls_short(amounts)
                    if refused is not None:
                        raise _exceeded(refused, amounts)
                if loop.time() - max(began, self._heard_at) > self._patience.silent:
                    raise LedgerUnavailable("the budget slice is used up and the ledger is silent")
                self._urgent.set()
                await self._next_answer()
                # Only an answer to a message that told of this need says anything about it.
                heard = heard or self._heard_seq > asked
        finally:
            path.stop_waiting(amounts)
            self.waiting -= 1

    async def _next_answer(self) -> None:
        try:
            async with asyncio.timeout(self._patience.sync_every):
                await self._answered.wait()
        except TimeoutError:
            return

    def _forget(self, last: int) -> None:
        """Drop what is durable elsewhere: all settlements up to number `last`."""
        done = [self._unposted.popleft() for _ in range(last - self._first + 1)]
        if not done:
            return
        self._first = last + 1
        self._slices.posted(done)
        try:
            self._journal.acknowledge(last)
            if self._journal.is_large:
                self._journal.rewrite(
                    Contents(self._open, dict(enumerate(self._unposted, self._first)))
                )
        except OSError as exc:
            self._note_disk(exc)

    def _note_disk(self, error: OSError | None) -> None:
        """Say once that the disk refuses, and once that it does no longer.

        What was settled meanwhile is kept in memory. If it dies there too, the reservation is
        charged in full; what is posted already is never posted again.
        """
        refuses = error is not None
        if refuses != self._disk_refuses:
            self._disk_refuses = refuses
            _log.error("the journal can%s be written: %s", "not" if refuses else " again", error)

    async def _sync_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        silent = False
        while True:
            try:
                async with asyncio.timeout(self._patience.sync_every):
                    await self._urgent.wait()
            except TimeoutError:
                due = loop.time() - self._synced_at > self._patience.heartbeat
                if not due and not self._unposted and self._slices.is_resting():
                    continue
            try:
                await self.sync()
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                if not silent:
                    _log.warning("the ledger is silent: %s", type(error).__name__)
                silent = True
                if loop.time() - self._heard_at > self._patience.rates:
                    self._slices.lose_rates()
                await asyncio.sleep(self._patience.sync_every)
            else:
                silent = False

    async def _recover_for_ever(self) -> None:
        while True:
            await recover(self._folder, self._ledger.sync, time.time(), self._patience.silent)
            await asyncio.sleep(self._patience.recover_every)


_NAMES: Mapping[Unit, str] = {
    "usd": "money",
    "tokens": "tokens",
    "requests": "requests",
    "parallel": "requests at once",
}


def _exceeded(refused: Slice, amounts: Amounts) -> CompassError:
    """Return the error that says whose limit it is, and when it may be asked again."""
    bucket = refused.bucket
    provider = bucket.account.removeprefix(PROVIDER)
    whose = f"account {bucket.account!r}" if provider == bucket.account else f"provider {provider}"
    what = _NAMES[bucket.unit]
    if bucket.is_budget:
        message = f"{whose} has not that much left of its budget of {what}"
        if provider != bucket.account:
            return QuotaExhausted(message, code="provider_budget_exceeded")
        return BudgetExceeded(message, account=provider, resets_at=bucket.resets_at)
    asked = amounts[refused.measure]
    if bucket.period == "minute":
        message = f"{whose} may use {refused.limit} {what} a minute, and has not {asked} left"
    else:
        message = f"{whose} may have {refused.limit} {what}, and has them"
    wait = max(_SOON, refused.frees_in) if asked <= refused.limit else None
    error = TooManyRequests if provider == bucket.account else RateLimited
    return error(message, code="rate_limit_exceeded", retry_after=wait)
