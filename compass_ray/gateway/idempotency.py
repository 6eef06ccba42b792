"""A replica's claims on idempotency keys: one message before a run, one after, none between.

What a request waits for is bounded: a claim for `Patience.begin`, the keeping of an answer for
`Patience.keep`. An end that could not be told in time is told as soon as the authority is back,
and the key is held until then; only where this replica dies before, too, is the answer lost and
the request run anew.

Single-threaded: all methods on one event loop.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from compass_ray.policy.idempotency import BEAT
from compass_ray.types.errors import IdempotencyUnavailable, RunInProgress
from compass_ray.types.idempotency import Claim, Ending, Granted, KeptAnswer, Verdict

_log = logging.getLogger("compass.idempotency")

_MOST_AT_ONCE = 32
"""Ends in one message: each may hold a large answer."""


class Authority(Protocol):
    """The Idempotency actor, directly or through a handle. Any exception means it is not there."""

    async def begin(self, claim: Claim) -> Verdict:
        """Judge a claim; safe to repeat."""

    async def end(self, endings: tuple[Ending, ...]) -> Sequence[bool]:
        """Return which of these ends count; safe to repeat."""

    async def extend(self, claims: tuple[str, ...]) -> None:
        """Let these runs, by claim id, hold their keys for one more lease."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds."""

    begin: float = 10.0
    """The authority may restart for so long before requests are refused."""
    keep: float = 5.0
    silent: float = 2.0
    """An answer later than this is none."""
    retry: float = 0.1
    beat: float = BEAT
    close: float = 5.0


class Claims:
    """The claims of one replica: held while their requests run, and told when they end."""

    def __init__(self, authority: Authority, patience: Patience | None = None) -> None:
        self._authority = authority
        self._patience = patience or Patience()
        self._held: set[str] = set()
        self._untold: dict[str, tuple[Ending, asyncio.Future[bool]]] = {}
        self._news = asyncio.Event()
        self._silent = False

    async def begin(self, claim: Claim) -> Verdict:
        """Ask whether a request may run; what is granted ends by `keep`, `free` or `abandon`.

        Raises:
            IdempotencyUnavailable
        """
        try:
            async with asyncio.timeout(self._patience.begin):
                verdict = await self._ask(claim)
        except TimeoutError:
            raise IdempotencyUnavailable(
                "whether a request with this Idempotency-Key ran before cannot be found out now",
                code="idempotency_unavailable",
            ) from None
        except asyncio.CancelledError:
            self._tell(Ending(claim))  # it may have been granted unheard
            raise
        if isinstance(verdict, Granted):
            self._held.add(claim.id)
        return verdict

    async def keep(self, claim: Claim, answer: KeptAnswer) -> None:
        """Keep an answer; on the authority's disk when this returns, or soon after `Patience.keep`.

        Raises:
            RunInProgress: the key was taken over; this answer is not the one to be told.
        """
        told = self._tell(Ending(claim, answer))
        try:
            async with asyncio.timeout(self._patience.keep):
                counts = await asyncio.shield(told)
        except TimeoutError:
            _log.warning("%s is answered before its answer is kept", claim.id)
            return
        if not counts:
            raise RunInProgress(
                "another run has taken over this Idempotency-Key",
                code="idempotency_key_taken_over",
                retry_after=1.0,
            )

    async def free(self, claim: Claim) -> None:
        """Free the key after a run without an answer; the next claim finds it so."""
        told = self._tell(Ending(claim))
        try:
            async with asyncio.timeout(self._patience.silent):
                await asyncio.shield(told)
        except TimeoutError:
            return  # told as soon as the authority is back

    def abandon(self, claim: Claim) -> None:
        """Free the key unless its run has ended, and do not wait for it."""
        if claim.id in self._held:
            self._tell(Ending(claim))

    async def run(self) -> None:
        """Tell ends and extend what is held, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_for_ever())
            tasks.create_task(self._extend_for_ever())

    async def close(self) -> None:
        """Tell what is still untold; what fails is left to its lease."""
        try:
            async with asyncio.timeout(self._patience.close):
                while self._untold:
                    await self._tell_some()
        except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
            _log.warning("%d ends of runs stay untold: %s", len(self._untold), type(error).__name__)

    async def _ask(self, claim: Claim) -> Verdict:
        while True:
            try:
                async with asyncio.timeout(self._patience.silent):
                    verdict = await self._authority.begin(claim)
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                self._note(error)
            else:
                self._note(None)
                return verdict
            await asyncio.sleep(self._patience.retry)

    def _tell(self, ending: Ending) -> asyncio.Future[bool]:
        """Tell of an end soon; return whether it counts. The first end of a claim is its end."""
        claim = ending.claim.id
        if claim not in self._untold:
            self._untold[claim] = (ending, asyncio.get_running_loop().create_future())
            self._news.set()
        return self._untold[claim][1]

    async def _tell_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._untold:
                try:
                    await self._tell_some()
                except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                    self._note(error)
                    await asyncio.sleep(self._patience.retry)
                else:
                    self._note(None)

    async def _tell_some(self) -> None:
        some = list(islice(self._untold.items(), _MOST_AT_ONCE))
        async with asyncio.timeout(self._patience.silent):
            counts = await self._authority.end(tuple(ending for _, (ending, _) in some))
        for (claim, (_, told)), counted in zip(some, counts, strict=True):
            del self._untold[claim]
            self._held.discard(claim)
            told.set_result(counted)

    async def _extend_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._patience.beat)
            if self._held:
                try:
                    async with asyncio.timeout(self._patience.silent):
                        await self._authority.extend(tuple(self._held))
                except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                    self._note(error)

    def _note(self, error: Exception | None) -> None:
        """Say once that the authority is silent, and once that it is no longer."""
        silent = error is not None
        if silent != self._silent:
            self._silent = silent
            word = f"is silent: {type(error).__name__}" if error else "answers again"
            _log.warning("the authority for idempotency keys %s", word)
