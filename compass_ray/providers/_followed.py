"""An answer that takes several exchanges, followed to its end as its wire says.

Whoever leaves early leaves work behind that goes on and costs: the provider is told to stop it,
even where the caller left before the first exchange had said by which name.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

from compass_ray.providers._http import Exchange, HttpClient
from compass_ray.providers.base import END, Further, HttpCall, Step, Target
from compass_ray.types.errors import CompassError, ProviderTimeout

_STOP_SECONDS = 10.0
_ASKED_AT_END = 4
"""How often it is asked what a stream came to, which may be known a little later."""


class Stopping:
    """The calls that stop what nobody waits for; they outlive the requests they are for."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, call: HttpCall) -> None:
        """Make the call; a provider that does not listen cannot be stopped."""
        until = asyncio.get_running_loop().time() + _STOP_SECONDS
        with contextlib.suppress(CompassError):
            exchange = await self._http.send(call, until)
            try:
                await exchange.read()
            finally:
                exchange.close()

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)


class Followed:
    """Used as an `Exchange` is, once it is open; closing it early stops the work."""

    def __init__(
        self,
        http: HttpClient,
        stopping: Stopping,
        further: Further,
        target: Target,
        deadline: float,
    ) -> None:
        """Follow one answer until `deadline`, on the loop's clock."""
        self._http = http
        self._stopping = stopping
        self._further = further
        self._target = target
        self._deadline = deadline
        self._exchange: Exchange
        self._body: bytes | None = None
        self._known: bytes | None = None
        """The latest answer that says by which name the work goes; None: there is none to stop."""

    @property
    def ok(self) -> bool:
        """Whether the last exchange was a 2xx."""
        return self._exchange.ok

    @property
    def status(self) -> int:
        """The last exchange's HTTP status."""
        return self._exchange.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The last exchange's headers by lower-case name."""
        return self._exchange.headers

    async def open(self, call: HttpCall, patience: float, *, stream: bool) -> None:
        """Make the calls until the answer is there, or with `stream` begins.

        `patience` is until when, on the loop's clock.

        Raises:
            ProviderTimeout, ProviderUnreachable, BrokenStream, BadAnswer
        """
        first = asyncio.ensure_future(self._fetch(call, patience))
        try:
            body = await asyncio.shield(first)
        except asyncio.CancelledError:
            self._stopping.add(self._stop_unheard(first))
            raise
        try:
            while self.ok and (step := self._next(body, stream=stream)) is not None:
                await self._pause(step, patience)
                if step.streams:
                    self._exchange = await self._http.send(step.call, self._deadline)
                    return
                body = await self._fetch(step.call, patience)
        except BaseException:
            self._stop()
            raise
        self._body = body

    async def read(self) -> bytes:
        """Return the answer, or the error that came instead.

        Raises:
            ProviderTimeout, BrokenStream, BadAnswer
        """
        return await self._exchange.read() if self._body is None else self._body

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the streamed answer as it arrives, and then the event that ends it.

        Raises:
            ProviderTimeout, BrokenStream, BadAnswer
        """
        body = self._body
        if body is None:
            async for piece in self._exchange.pieces():
                yield piece
            body = await self._ending()
        yield b"\n\nevent: %b\ndata: %b\n\n" % (END.encode(), b" ".join(body.splitlines()))

    def close(self) -> None:
        """Tell the provider to stop, unless the answer is complete."""
        self._exchange.close()
        self._stop()

    def _next(self, body: bytes, *, stream: bool) -> Step | None:
        """Return the next step; what is complete has no name to stop it by."""
        step = self._further.next(body, self._target, stream=stream)
        self._known = None if step is None else body
        return step

    async def _fetch(self, call: HttpCall, until: float) -> bytes:
        exchange = self._exchange = await self._http.send(call, until)
        try:
            return await exchange.read()
        finally:
            exchange.close()

    async def _pause(self, step: Step, until: float) -> None:
        if asyncio.get_running_loop().time() + step.after > until:
            raise ProviderTimeout("the answer did not begin in time", phase="first byte")
        await asyncio.sleep(step.after)

    async def _ending(self) -> bytes:
        """Return what the streamed answer came to; an empty object where nobody says."""
        body = self._known or b"{}"
        try:
            for asked in range(_ASKED_AT_END):
                step = self._next(body, stream=False)
                if step is None:
                    return body
                if asked:
                    await self._pause(step, self._deadline)
                body = await self._fetch(step.call, self._deadline)
                if not self.ok:
                    return b"{}"
        except CompassError:
            return b"{}"  # the answer is complete, only its usage is not known
        return body

    def _stop(self) -> None:
        if self._known is not None:
            call = self._further.stop(self._known, self._target)
            self._known = None
            self._stopping.add(self._stopping.send(call))

    async def _stop_unheard(self, first: "asyncio.Future[bytes]") -> None:
        """Wait for the name of the work that somebody left before he had heard it."""
        with contextlib.suppress(CompassError):
            body = await first
            if self.ok and self._next(body, stream=False) is not None:
                await self._stopping.send(self._further.stop(body, self._target))
