"""Asks the requests of one batch, several at a time, until all have ended or no more may begin.

How a request ended is on disk before it counts. Each carries its batch and its line as its
idempotency key: one that was under way when a process died is asked again, and answered from the
record where it was made already.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from compass_ray.policy.batches import answered, pause
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Batch, Line, Outcome, Told
from compass_ray.types.errors import IdempotencyUnavailable

_UNHEARD_PAUSE = 0.5
"""Seconds until a request is asked again that no replica has answered."""


class Gateway(Protocol):
    """Who answers the requests."""

    async def ask(self, endpoint: str, body: bytes, caller: Caller, key: str) -> Told:
        """Answer a body of that endpoint once per key, or say what is wrong.

        Raises:
            IdempotencyUnavailable: ask again with the same key.
        """


Keep = Callable[[Outcome], Awaitable[None]]
"""Puts the end of a request on disk."""


class BatchRun:
    """The requests of one batch; `places` bounds those of all batches that are under way."""

    def __init__(
        self,
        batch: Batch,
        *,
        gateway: Gateway,
        places: asyncio.Semaphore,
        keep: Keep,
        wall: Callable[[], float],
        uniform: Callable[[], float],
    ) -> None:
        self._batch = batch
        self._gateway = gateway
        self._places = places
        self._keep = keep
        self._wall = wall
        self._uniform = uniform
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Begin no further request."""
        self._stopped.set()

    async def ask_all(self, lines: AsyncIterator[Line]) -> None:
        """Return once every line has ended, or no more may begin and those under way have."""
        async with asyncio.TaskGroup() as tasks:
            async for line in lines:
                await self._places.acquire()
                if self._may_not_begin():
                    self._places.release()
                    return
                tasks.create_task(self._ask(line))

    def _may_not_begin(self) -> bool:
        return self._stopped.is_set() or self._wall() >= self._batch.expires_at

    async def _ask(self, line: Line) -> None:
        """Ask one request until it has ended; it has a place."""
        try:
            told = await self._answer(line)
            failures = 0
            while not self._may_not_begin():
                failures += 1
                wait = pause(told, failures, self._uniform())
                if wait is None:
                    break
                await self._wait(wait)
                told = await self._answer(line)
            await self._keep(answered(self._batch, line, told))
        finally:
            self._places.release()

    async def _answer(self, line: Line) -> Told:
        batch = self._batch
        key = f"{batch.id}/{line.number}"
        while True:
            try:
                return await self._gateway.ask(batch.endpoint, line.body, batch.caller, key)
            except IdempotencyUnavailable as error:
                await asyncio.sleep(error.retry_after or _UNHEARD_PAUSE)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
