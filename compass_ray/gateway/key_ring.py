"""One provider that is called with several keys: what befalls a key stays with the key.

A call that one key is refused for, or that is too much for it, goes on with the next within the
same attempt: no caller hears of it, and it says nothing about the endpoint while another key lives.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar, cast

from compass_ray.policy import key_pool
from compass_ray.providers.base import StreamState, Target
from compass_ray.providers.client import ProviderClient
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.errors import (
    CompassError,
    NoEndpoint,
    ProviderAuthFailed,
    QuotaExhausted,
    RateLimited,
)
from compass_ray.types.routing import Endpoint

_log = logging.getLogger("compass.keys")

_T = TypeVar("_T")
Alarm = Callable[[str], None]
"""Is told the environment variable of a key that leaves the pool."""


class KeyRing:
    """A provider's client for each of its keys, over the same connections.

    `clock` is monotonic seconds.
    """

    def __init__(self, client: ProviderClient, alarm: Alarm, clock: Callable[[], float]) -> None:
        self._client = client
        self._alarm = alarm
        self._clock = clock
        self._target: Target | None = None
        self._keys = _Keys((), (), alarm, clock)

    @property
    def target(self) -> Target | None:
        """Where the provider is reached, with all its keys."""
        return self._target

    @target.setter
    def target(self, target: Target | None) -> None:
        if target == self._target:
            return
        self._target = target
        each = () if target is None else target.each_key()
        clients = [self._client.at(one) for one in each]
        names = () if target is None else [key.variable for key in target.keys]
        self._keys = _Keys(clients, names, self._alarm, self._clock)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    def prefills(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` goes on with a last message that is the assistant's."""
        return self._client.prefills(endpoint)

    @property
    def json_mode(self) -> bool:
        """Whether the provider can be told that an answer is to be some JSON object."""
        return self._client.json_mode

    async def complete(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Answer:
        """Return the whole answer, or raise a CompassError, as the client does."""
        return await self._keys.ask(
            endpoint, state, lambda client: client.complete(request, endpoint, state, deadline)
        )

    async def embed(
        self, request: EmbeddingRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Answer:
        """Return the vectors, or raise a CompassError, as the client does."""
        return await self._keys.ask(
            endpoint, state, lambda client: client.embed(request, endpoint, state, deadline)
        )

    async def stream(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> AsyncIterator[Chunk]:
        """Yield the answer's chunks, or raise a CompassError, as the client does."""

        async def begin(client: ProviderClient) -> tuple[Chunk | None, AsyncGenerator[Chunk]]:
            chunks = client.stream(request, endpoint, state, deadline)
            told = cast("AsyncGenerator[Chunk]", chunks)
            try:
                return await anext(told, None), told
            except BaseException:
                await told.aclose()
                raise

        first, chunks = await self._keys.ask(endpoint, state, begin)
        async with aclosing(chunks):
            if first is not None:
                yield first
            async for chunk in chunks:
                yield chunk

    async def count(self, request: ChatRequest, endpoint: Endpoint, deadline: float) -> int | None:
        """Return the input tokens; None where the provider counts for nobody."""
        state = StreamState("", 0, endpoint.model)
        return await self._keys.ask(
            endpoint, state, lambda client: client.count(request, endpoint, deadline)
        )


class _Keys:
    """The keys of one target; they are replaced whole, and a call keeps those it began with."""

    def __init__(
        self,
        clients: Sequence[ProviderClient],
        names: Sequence[str],
        alarm: Alarm,
        clock: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._names = names
        self._alarm = alarm
        self._clock = clock
        self._pool = key_pool.pool_of(len(clients))

    async def ask(
        self,
        endpoint: Endpoint,
        state: StreamState,
        call: Callable[[ProviderClient], Awaitable[_T]],
    ) -> _T:
        """Return what comes of a call with the first key that is neither refused nor limited.

        Raises:
            CompassError: of the call, or RateLimited where every key that lives rests.
        """
        tried: list[int] = []
        failure: CompassError | None = None
        while True:
            place = self._next(endpoint, tried, failure)
            tried.append(place)
            try:
                answer = await call(self._clients[place])
            except (ProviderAuthFailed, QuotaExhausted) as error:
                self._refuse(place, endpoint, error)
                failure = error
            except RateLimited as error:
                wait = error.retry_after
                self._pool = key_pool.limited(self._pool, place, endpoint.id, wait, self._clock())
                failure = error
            else:
                self._accept(place, endpoint, state)
                return answer

    def _next(self, endpoint: Endpoint, tried: Sequence[int], failure: CompassError | None) -> int:
        if not self._clients:
            raise NoEndpoint(f"provider {endpoint.provider!r} cannot be called at the moment")
        self._pool, place = key_pool.pick(self._pool, endpoint.id, self._clock(), tried)
        if place is not None:
            return place
        if failure is not None and not self._pool.live:
            raise failure
        raise RateLimited(
            f"every key of {endpoint.provider!r} has reached its rate limit",
            code="rate_limit_exceeded",
            retry_after=key_pool.ready_in(self._pool, endpoint.id, self._clock()),
        ) from failure

    def _refuse(self, place: int, endpoint: Endpoint, error: CompassError) -> None:
        self._pool = key_pool.refused(self._pool, place, self._clock())
        name = self._names[place]
        _log.warning(
            "provider %r does not accept the key in %s (%s): %d of %d are left",
            *(endpoint.provider, name, type(error).__name__),
            *(self._pool.live, len(self._names)),
        )
        self._alarm(name)

    def _accept(self, place: int, endpoint: Endpoint, state: StreamState) -> None:
        pool = key_pool.accepted(self._pool, place)
        if pool is not self._pool:
            name = self._names[place]
            _log.info("provider %r accepts the key in %s again", endpoint.provider, name)
        if state.rests_for:
            pool = key_pool.limited(pool, place, endpoint.id, state.rests_for, self._clock())
            state.rests_for = key_pool.ready_in(pool, endpoint.id, self._clock())
        self._pool = pool
