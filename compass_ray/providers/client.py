"""One provider as the gateway calls it: its wire over the HTTP client."""

import asyncio
from collections.abc import AsyncIterator

from compass_ray.providers._http import Exchange, HttpClient
from compass_ray.providers.base import StreamState, Target, Wire
from compass_ray.providers.sse import EventReader
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.errors import BrokenStream, CompassError, NoEndpoint
from compass_ray.types.routing import Endpoint
from compass_ray.types.settings import TimeoutSettings

_OK = 200


class ProviderClient:
    """Calls one provider. `target` is replaced when the provider's status changes."""

    def __init__(
        self, wire: Wire, timeouts: TimeoutSettings, max_parallel: int, target: Target | None
    ) -> None:
        self._wire = wire
        self._timeouts = timeouts
        self._http = HttpClient(timeouts, max_parallel)
        self.target = target

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def complete(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Answer:
        """Return the whole answer; `deadline` is on the loop's clock.

        Raises:
            CompassError: of any kind but ConfigError.
        """
        exchange = await self._post(request, endpoint, deadline)
        try:
            body = await exchange.read()
            if exchange.status != _OK:
                raise self._wire.decode_error(exchange.status, exchange.headers, body)
            return self._wire.decode(body, state)
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
        exchange = await self._post(request, endpoint, deadline)
        try:
            if exchange.status != _OK:
                raise await self._error(exchange)
            finished = False
            events = EventReader()
            async for piece in exchange.pieces():
                for event, data in events.feed(piece):
                    for chunk in self._wire.decode_chunk(event, data, state):
                        finished = finished or chunk.finish_reason is not None
                        yield chunk
            if not finished:
                raise BrokenStream(f"{endpoint.id} ended its stream without a finish reason")
        finally:
            exchange.close()

    def prefills(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` goes on with a last message that is the assistant's."""
        return self._wire.prefills(endpoint)

    async def _post(self, request: ChatRequest, endpoint: Endpoint, deadline: float) -> Exchange:
        if self.target is None:
            raise NoEndpoint(f"provider {endpoint.provider!r} cannot be called at the moment")
        deadline = min(deadline, asyncio.get_running_loop().time() + self._timeouts.total)
        return await self._http.post(self._wire.encode(request, endpoint, self.target), deadline)

    async def _error(self, exchange: Exchange) -> CompassError:
        return self._wire.decode_error(exchange.status, exchange.headers, await exchange.read())
