"""The only HTTP client of the hot path: aiohttp, with its errors turned into ours.

Bodies are asked for uncompressed: answers are small, and a compression bomb cannot be sent.
Redirects are not followed: a key goes to its own configured origin and nowhere else.
Deadlines are seconds on the event loop's clock.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from compass_ray.providers.base import HttpCall, StreamState
from compass_ray.types.errors import (
    BadAnswer,
    BrokenStream,
    ProviderTimeout,
    ProviderUnreachable,
    TimeoutPhase,
)
from compass_ray.types.settings import TimeoutSettings

MAX_BODY_BYTES = 64 * 1024 * 1024

_T = TypeVar("_T")


class HttpClient:
    """One pool of connections to one provider."""

    def __init__(self, timeouts: TimeoutSettings, max_parallel: int) -> None:
        self._timeouts = timeouts
        self._connector = aiohttp.TCPConnector(limit=max_parallel, keepalive_timeout=50)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"accept-encoding": "identity", "user-agent": "compass"},
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def send(
        self, call: HttpCall, deadline: float, state: StreamState | None = None
    ) -> "Exchange":
        """Send `call` and wait for the head of its answer; `state` learns when it is sent.

        Raises:
            ProviderTimeout, ProviderUnreachable, BrokenStream, BadAnswer
        """
        origin = "/".join(call.url.split("/", 3)[:3])
        response = await _bounded(
            self._session.request(
                call.method,
                call.url,
                data=self._data(call, state),
                headers=call.headers,
                allow_redirects=False,
            ),
            origin,
            "first byte",
            self._timeouts.first_byte,
            deadline,
        )
        return Exchange(response, origin, self._timeouts, deadline)

    def _data(self, call: HttpCall, state: StreamState | None) -> aiohttp.BytesPayload | None:
        """Return the body; one that has to wait for a connection notes when it gets it.

        Only such a one: noting costs a tenth of a millisecond.
        """
        if state is None:
            return aiohttp.BytesPayload(call.body) if call.body else None
        if len(self._connector._acquired) >= self._connector.limit:  # noqa: SLF001  # no public one
            return _Body(call.body, state)
        state.sent = True
        return aiohttp.BytesPayload(call.body)


class _Body(aiohttp.BytesPayload):
    """Bytes that note when a connection takes them: until then the call waits in the pool."""

    def __init__(self, body: bytes, state: StreamState) -> None:
        super().__init__(body)
        self._state = state

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the bytes."""
        self._state.sent = True
        await super().write_with_length(writer, content_length)


class Exchange:
    """One answer under way. Closing it before its end closes the connection."""

    __slots__ = ("_deadline", "_origin", "_response", "_timeouts")

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        origin: str,
        timeouts: TimeoutSettings,
        deadline: float,
    ) -> None:
        self._response = response
        self._origin = origin
        self._timeouts = timeouts
        self._deadline = deadline

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def ok(self) -> bool:
        """Whether the status is a 2xx."""
        return self._response.status // 100 == 2  # noqa: PLR2004  # HTTP's

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; names in any case."""
        return self._response.headers

    def close(self) -> None:
        """Tell the provider to stop, unless the answer is complete."""
        self._response.close()

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            ProviderTimeout, BrokenStream, BadAnswer
        """
        pieces = [piece async for piece in self.pieces()]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            ProviderTimeout, BrokenStream, BadAnswer
        """
        self._refuse_encoding()
        content = self._response.content
        phase: TimeoutPhase = "first byte"
        wait = self._timeouts.first_byte
        size = 0
        while not content.at_eof():
            piece = self._arrived() or await _bounded(
                content.readany(), self._origin, phase, wait, self._deadline
            )
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise BadAnswer(f"the answer of {self._origin} exceeds {MAX_BODY_BYTES} bytes")
            yield piece
            phase, wait = "idle", self._timeouts.idle

    def _arrived(self) -> bytes:
        """Return what need not be waited for; a broken connection is for the waiting to tell."""
        content = self._response.content
        return b"" if content.exception() else content.read_nowait()

    def _refuse_encoding(self) -> None:
        encoding = self._response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise BadAnswer(f"{self._origin} answered in {encoding!r}, identity was asked for")


async def _bounded(
    step: Awaitable[_T], origin: str, phase: TimeoutPhase, wait: float, deadline: float
) -> _T:
    """Await `step` at most `wait` seconds or until the deadline, with errors of our own tree."""
    until = asyncio.get_running_loop().time() + wait
    if deadline < until:
        phase, until = "total", deadline
    try:
        async with asyncio.timeout_at(until):
            return await step
    except aiohttp.ConnectionTimeoutError as exc:
        raise ProviderTimeout(f"{origin} did not accept a connection", phase="connect") from exc
    except TimeoutError as exc:
        raise ProviderTimeout(f"{origin} did not answer in time ({phase})", phase=phase) from exc
    except aiohttp.ClientConnectorError as exc:
        reason = exc.strerror or type(exc).__name__
        raise ProviderUnreachable(f"cannot connect to {origin}: {reason}") from exc
    except aiohttp.InvalidURL as exc:
        raise ProviderUnreachable(f"not a usable url: {origin}") from exc
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError) as exc:
        raise BrokenStream(f"{origin} broke the connection") from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise BadAnswer(f"{origin} did not answer in HTTP: {type(exc).__name__}") from exc
