"""One HTTP/1.1 connection to a provider: a request out, an answer in, and again.

The parser is llhttp, by way of httptools; what is here is who waits for what, and the bounds: of an
answer's head, and of what is held of a body that its reader is slow to take.
"""

import asyncio
from typing import cast

import httptools
from multidict import CIMultiDict

_LARGEST_HEAD = 64 * 1024
"""Bytes; more of them are no answer."""
_HELD = 256 * 1024
"""Bytes of a body that wait for their reader; then the provider waits."""
_FIRST_FINAL_STATUS = 200


class NotHttp(Exception):
    """What came is no HTTP/1.1 answer."""


class Connection(asyncio.Protocol):
    """A connection, with one exchange at a time.

    `ask` begins it, `head` is there when `status` and `headers` are, and `read` takes the body.
    """

    __slots__ = (
        "_complete",
        "_error",
        "_head_bytes",
        "_held",
        "_held_bytes",
        "_is_asking",
        "_is_open",
        "_is_paused",
        "_lines",
        "_loop",
        "_parser",
        "_transport",
        "_waiter",
        "headers",
        "status",
        "unused_since",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._is_open = False
        self._begin()
        self._is_asking = False
        self.unused_since = 0.0
        """When the last exchange ended, on the loop's clock."""

    def _begin(self) -> None:
        self._is_asking = True
        self._complete = False
        self._is_paused = False
        self._error: Exception | None = None
        self._head_bytes = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._expect_head()

    def _expect_head(self) -> None:
        self._lines: list[tuple[bytes, bytes]] = []
        self.status = 0
        """Of the answer; 0 until its head is there."""
        self.headers: CIMultiDict[str] = CIMultiDict()

    @property
    def is_free(self) -> bool:
        """Whether another exchange may begin."""
        return self._is_open and not self._is_asking and not self._transport.is_closing()

    @property
    def at_end(self) -> bool:
        """Whether the whole answer came and was taken."""
        return self._complete and not self._held

    def ask(self, message: bytes) -> None:
        """Send a request, which is a whole HTTP message."""
        self._begin()
        self._transport.write(message)

    async def head(self) -> None:
        """Wait until `status` and `headers` are there.

        Raises:
            ConnectionError: it broke off.
            NotHttp: something else came.
        """
        while not self.status:
            await self._something()

    async def read(self) -> bytes:
        """Wait for the next of the body; b"" at its end.

        Raises:
            ConnectionError, NotHttp
        """
        while not self._held and not self._complete:
            await self._something()
        return self.taken()

    def taken(self) -> bytes:
        """Return what is there of the body, without waiting."""
        held = self._held
        data = held[0] if len(held) == 1 else b"".join(held)
        self._held = []
        self._held_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def end(self) -> None:
        """End the exchange; of an answer that is not complete the provider hears no more."""
        self._is_asking = not self._complete
        if not self.is_free:
            self.abort()
            return
        self.taken()
        self.unused_since = self._loop.time()

    def abort(self) -> None:
        """Close the connection at once."""
        self._is_open = False
        self._transport.abort()

    async def _something(self) -> None:
        """Wait until something came.

        Raises:
            ConnectionError, NotHttp
        """
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._is_open = True

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if not self._is_asking or self._complete:
            self.abort()  # nobody asked for this
            return
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(NotHttp(type(error).__name__))
        else:
            if not self.status and self._head_bytes > _LARGEST_HEAD:
                self._fail(NotHttp("a head without end"))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be closed; that may be how a body without a length ends."""
        self._is_open = False
        if exc is None and self.status and not self._has_length():
            self._complete = True
        elif self._error is None and not self._complete:
            self._error = ConnectionResetError(str(exc or "the connection was closed"))
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.abort()

    def _has_length(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    def on_message_begin(self) -> None:
        """Note that one begins; after the answer there may be none."""
        if self._complete:
            self._is_open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of the head, or of what trails the body."""
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the head; one that only says that another follows is passed over."""
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL_STATUS or self._complete:
            return
        self.headers = CIMultiDict(
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._lines]
        )
        self.status = status

    def on_body(self, data: bytes) -> None:
        """Keep the next of the body until it is taken."""
        if self._complete:
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HELD and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Note the end of the answer, and whether the connection can be used again."""
        if not self.status:
            self._expect_head()
            return
        self._complete = True
        if not self._parser.should_keep_alive():
            self._is_open = False
            self._transport.close()
