"""One provider as the gateway calls it: its wire over the HTTP client."""

import asyncio
from collections.abc import AsyncIterator
from copy import copy

from compass_ray.providers._embeddings import answer_of
from compass_ray.providers._followed import Followed, Stopping
from compass_ray.providers._http import Exchange, HttpClient
from compass_ray.providers._one_call import one_call_of
from compass_ray.providers._rate_limits import rests_for
from compass_ray.providers.base import HttpCall, StreamState, Target, Wire
from compass_ray.providers.sse import EventReader
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.errors import BrokenStream, CompassError, InvalidRequest, NoEndpoint
from compass_ray.types.routing import Endpoint
from compass_ray.types.settings import TimeoutSettings

_MUCH = 512 * 1024
"""Bytes of vectors that take some 4 ms to read: others are answered meanwhile."""


class ProviderClient:
    """Calls one provider. `target` is replaced when the provider's status changes."""

    def __init__(
        self, wire: Wire, timeouts: TimeoutSettings, max_parallel: int, target: Target | None
    ) -> None:
        self._wire = wire
        self._timeouts = timeouts
        self._http = HttpClient(timeouts, max_parallel)
        self._stopping = Stopping(self._http)
        self.target = target

    def at(self, target: Target) -> "ProviderClient":
        """Return a client of another target that shares the connections of this one."""
        other = copy(self)
        other.target = target
        return other

    async def close(self) -> None:
        """Close every connection, once the provider knows of all that it need not go on with."""
        await self._stopping.close()
        await self._http.close()

    async def complete(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Answer:
        """Return the whole answer; `deadline` is on the loop's clock.

        Raises:
            CompassError: of any kind but ConfigError.
        """
        exchange = await self._begin(request, endpoint, state, deadline)
        try:
            body = await exchange.read()
            if not exchange.ok:
                raise self._wire.decode_error(exchange.status, exchange.headers, body)
            state.rests_for = rests_for(exchange.headers, self._wire.rate_limits)
            answer = self._wire.decode(body, state)
            one_call = one_call_of(request, state)
            return answer if one_call is None else one_call.answer(answer)
        finally:
            exchange.close()

    async def stream(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> AsyncIterator[Chunk]:
        """Yield the answer's chunks; close the iterator to stop the provider.

        Raises:
            CompassError: of any kind but ConfigError; BrokenStream where the body ended
                before a finish reason.
        """
        exchange = await self._begin(request, endpoint, state, deadline)
        try:
            if not exchange.ok:
                raise await self._error(exchange)
            state.rests_for = rests_for(exchange.headers, self._wire.rate_limits)
            finished = False
            one_call = one_call_of(request, state)
            events = EventReader()
            async for piece in exchange.pieces():
                for event, data in events.feed(piece):
                    for chunk in self._wire.decode_chunk(event, data, state):
                        finished = finished or chunk.finish_reason is not None
                        yield chunk if one_call is None else one_call.chunk(chunk)
            if not finished:
                raise BrokenStream(f"{endpoint.id} ended its stream without a finish reason")
        finally:
            exchange.close()

    async def count(self, request: ChatRequest, endpoint: Endpoint, deadline: float) -> int | None:
        """Return the input tokens; None where the provider counts for nobody.

        Raises:
            CompassError: of any kind but ConfigError.
        """
        counting, target = self._wire.counting, self.target
        if counting is None or target is None:
            return None
        return counting.read(await self._told(counting.ask(request, endpoint, target), deadline))

    async def embed(
        self, request: EmbeddingRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Answer:
        """Return the vectors; `deadline` is on the loop's clock.

        Raises:
            CompassError: of any kind but ConfigError.
        """
        embedder, target = self._wire.embedder, self.target
        if target is None:
            raise _out_of_reach(endpoint)
        if embedder is None:
            raise InvalidRequest(f"{endpoint.provider} makes no embeddings", param="model")
        deadline = min(deadline, asyncio.get_running_loop().time() + self._timeouts.total)
        body = await self._told(embedder.ask(request, endpoint, target), deadline, state)

        def read() -> Answer:
            return answer_of(embedder.read(body), request, endpoint, state)

        return read() if len(body) < _MUCH else await asyncio.to_thread(read)

    def prefills(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` goes on with a last message that is the assistant's."""
        return self._wire.prefills(endpoint)

    @property
    def json_mode(self) -> bool:
        """Whether the provider can be told that an answer is to be some JSON object."""
        return self._wire.json_mode

    async def _begin(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Exchange | Followed:
        target, further = self.target, self._wire.further
        if target is None:
            raise _out_of_reach(endpoint)
        now = asyncio.get_running_loop().time()
        deadline = min(deadline, now + self._timeouts.total)
        call = self._wire.encode(request, endpoint, target)
        if further is None:
            return await self._http.send(call, deadline, state)
        state.sent = True  # it is told of the work, and to stop it, in several calls
        patience = min(deadline, now + self._timeouts.first_byte)
        followed = Followed(self._http, self._stopping, further, target, deadline)
        await followed.open(call, patience, stream=request.stream)
        return followed

    async def _error(self, exchange: Exchange | Followed) -> CompassError:
        return self._wire.decode_error(exchange.status, exchange.headers, await exchange.read())

    async def _told(
        self, call: HttpCall, deadline: float, state: StreamState | None = None
    ) -> bytes:
        """Return the whole answer to a call; `state` learns what is known of the call."""
        exchange = await self._http.send(call, deadline, state)
        try:
            body = await exchange.read()
            if not exchange.ok:
                raise self._wire.decode_error(exchange.status, exchange.headers, body)
            if state is not None:
                state.rests_for = rests_for(exchange.headers, self._wire.rate_limits)
            return body
        finally:
            exchange.close()


def _out_of_reach(endpoint: Endpoint) -> NoEndpoint:
    return NoEndpoint(f"provider {endpoint.provider!r} cannot be called at the moment")
