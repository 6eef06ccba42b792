"""The only HTTP client of the hot path, with errors of our own tree.

Bodies are asked for uncompressed: answers are small, and a compression bomb cannot be sent.
Redirects are not followed: a key goes to its own configured origin and nowhere else.
Deadlines are seconds on the event loop's clock.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from math import inf
from typing import TypeVar

from compass_ray.providers._connection import Connection, NotHttp
from compass_ray.providers._message import Unsendable, encode
from compass_ray.providers._pool import CannotConnect, ConnectTimeout, Pool
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
        self._pool = Pool(max_parallel, timeouts.connect)

    async def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    async def send(
        self, call: HttpCall, deadline: float, state: StreamState | None = None
    ) -> "Exchange":
        """Send `call` and wait for the head of its answer; `state` learns when it is sent.

        Raises:
            ProviderTimeout, ProviderUnreachable, BrokenStream, BadAnswer
        """
        origin = "/".join(call.url.split("/", 3)[:3])
        return await _bounded(
            self._sent(call, origin, deadline, state),
            origin,
            "first byte",
            inf if call.patient else self._timeouts.first_byte,
            deadline,
        )

    async def _sent(
        self, call: HttpCall, origin: str, deadline: float, state: StreamState | None
    ) -> "Exchange":
        place, message = encode(call)
        connection = await self._pool.take(place)
        try:
            if state is not None:
                state.sent = True
            connection.ask(message)
            await connection.head()
        except BaseException:
            self._pool.give_back(place, connection)
            raise
        giving_back = partial(self._pool.give_back, place, connection)
        return Exchange(connection, giving_back, origin, self._timeouts, deadline)


class Exchange:
    """One answer under way. Closing it before its end closes the connection."""

    __slots__ = ("_connection", "_deadline", "_give_back", "_origin", "_timeouts")

    def __init__(
        self,
        connection: Connection,
        give_back: Callable[[], None],
        origin: str,
        timeouts: TimeoutSettings,
        deadline: float,
    ) -> None:
        self._connection = connection
        self._give_back: Callable[[], None] | None = give_back
        self._origin = origin
        self._timeouts = timeouts
        self._deadline = deadline

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._connection.status

    @property
    def ok(self) -> bool:
        """Whether the status is a 2xx."""
        return self._connection.status // 100 == 2  # noqa: PLR2004  # HTTP's

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; names in any case."""
        return self._connection.headers

    def close(self) -> None:
        """Tell the provider to stop, unless the answer is complete."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None

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
        connection = self._connection
        phase: TimeoutPhase = "first byte"
        wait = self._timeouts.first_byte
        size = 0
        while not connection.at_end:
            piece = connection.taken() or await _bounded(
                connection.read(), self._origin, phase, wait, self._deadline
            )
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise BadAnswer(f"the answer of {self._origin} exceeds {MAX_BODY_BYTES} bytes")
            yield piece
            phase, wait = "idle", self._timeouts.idle

    def _refuse_encoding(self) -> None:
        encoding = self._connection.headers.get("content-encoding", "identity")
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
    except ConnectTimeout as exc:
        raise ProviderTimeout(f"{origin} did not accept a connection", phase="connect") from exc
    except TimeoutError as exc:
        raise ProviderTimeout(f"{origin} did not answer in time ({phase})", phase=phase) from exc
    except CannotConnect as exc:
        raise ProviderUnreachable(f"cannot connect to {origin}: {exc}") from exc
    except Unsendable as exc:
        raise ProviderUnreachable(f"cannot call {origin}: {exc}") from exc
    except OSError as exc:
        raise BrokenStream(f"{origin} broke the connection") from exc
    except NotHttp as exc:
        raise BadAnswer(f"{origin} did not answer in HTTP: {exc}") from exc
