"""Keeps a number of connections busy for a while and says how long the answers took.

Each connection sends its next request when the answer to the last one is complete (closed loop).
Every answer is checked. Prints one JSON object.
"""

import argparse
import asyncio
import gc
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

from benchmarks.answers import StreamReader, WrongAnswer, check_answer
from benchmarks.contract import MARK_WIDTH, Shape, mark, request_body
from benchmarks.figures import percentile

KEY_VARIABLE = "BENCH_API_KEY"
_LONGEST_ANSWER = 30.0
_NANO = 1e-9


@dataclass(frozen=True, slots=True)
class Load:
    """`connections` callers of `url` (a chat-completions route), for `seconds` after `warmup`."""

    url: str
    model: str
    connections: int
    shape: Shape
    warmup: float
    seconds: float


@dataclass(slots=True)
class Window:
    """What is counted: answers that are complete between `since` and `until`.

    When they were asked for does not matter: leaving out those under way at either edge would
    take the more from a system the slower it is.
    """

    since: float
    until: float
    all_requests: int = 0
    requests: int = 0
    latencies: list[float] = field(default_factory=list)
    first_chunks: list[float] = field(default_factory=list)
    chunk_delays: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Caller(asyncio.Protocol):
    """One connection, with one request at a time."""

    _numbers = 0

    def __init__(
        self, head: bytes, body: tuple[bytes, bytes], shape: Shape, window: Window
    ) -> None:
        self._head, self._body, self._shape = head, body, shape
        self._window = window
        self._loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        """Make ready for a request."""
        Caller._numbers += 1
        self._mark = mark(Caller._numbers, self._shape)
        self._answer = b""
        self._stream = StreamReader(self._mark.decode(), self._shape.chunks)
        self._first_chunk: float | None = None
        self._delays: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to ask."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the system closed."""
        if not self.finished.done():
            self._fail(f"connection closed: {exc!r}")
            self.finished.set_result(None)

    def ask(self) -> None:
        """Send the request."""
        assert self._transport is not None
        before, after = self._body
        message = b"".join((self._head, before, self._mark, after))
        self._started = time.monotonic()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        """Read a part of the answer."""
        self._now = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")
            self._finish()

    def on_body(self, body: bytes) -> None:
        """Take the body's next bytes."""
        if not self._shape.chunks or self._parser.get_status_code() != 200:
            self._answer += body
            return
        try:
            written = self._stream.feed(body)
        except WrongAnswer as error:
            self._fail(str(error))
            return
        if written and self._first_chunk is None:
            self._first_chunk = self._now * _NANO - self._started
        self._delays += [(self._now - stamp) * _NANO for stamp in written]

    def on_message_complete(self) -> None:
        """Check the answer, count it, and go on."""
        window = self._window
        window.all_requests += 1
        now = self._now * _NANO
        try:
            self._check()
        except WrongAnswer as error:
            self._fail(str(error))
        if window.since <= now <= window.until:
            self._count(now)
        if not self._parser.should_keep_alive():
            self._fail("the system closes the connection after an answer")
        if now < window.until and not window.errors:
            self._begin()
            # Not at once: the parser is still at work on the last answer.
            self._loop.call_soon(self.ask)
        else:
            self._finish()

    def _check(self) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            raise WrongAnswer(f"status {status}: {self._answer[:300]!r}")
        if self._shape.chunks:
            self._stream.end()
        else:
            check_answer(self._answer, self._mark.decode())

    def _count(self, now: float) -> None:
        window = self._window
        window.requests += 1
        window.latencies.append(now - self._started)
        window.chunk_delays += self._delays
        if self._first_chunk is not None:
            window.first_chunks.append(self._first_chunk)

    def _fail(self, reason: str) -> None:
        self._window.errors[reason] += 1

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)
        if self._transport is not None:
            self._transport.close()


async def measure(load: Load) -> dict[str, object]:
    """Put `load` on its system and return the figures; times are in milliseconds."""
    place = urlsplit(load.url)
    host, port = place.hostname or "127.0.0.1", place.port or 80
    shape = load.shape
    body = request_body(load.model, shape)
    head = _head(f"{host}:{port}", place.path, sum(map(len, body)) + MARK_WIDTH)
    since = time.monotonic() + load.warmup
    window = Window(since, until=since + load.seconds)
    loop = asyncio.get_running_loop()
    callers = []
    for index in range(load.connections):
        _, caller = await loop.create_connection(
            lambda: Caller(head, body, shape, window), host, port
        )
        callers.append(caller)
        # Paced streams are spread over one stream's duration, as independent callers are.
        loop.call_later(shape.chunks * shape.delay * index / load.connections, caller.ask)
    done = asyncio.wait([caller.finished for caller in callers])
    try:
        await asyncio.wait_for(done, load.warmup + load.seconds + _LONGEST_ANSWER)
    except TimeoutError:
        window.errors[f"no answer within {_LONGEST_ANSWER:.0f} s"] += 1
    return _summary(window, load.seconds)


def _head(host: str, path: str, length: int) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {host}",
        "content-type: application/json",
        f"content-length: {length}",
    ]
    if key := os.environ.get(KEY_VARIABLE):
        lines.append(f"authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode()


def _summary(window: Window, seconds: float) -> dict[str, object]:
    if not window.errors and not window.requests:
        window.errors["no answer was complete within the time"] += 1
    summary: dict[str, object] = {
        "errors": dict(window.errors.most_common(5)),
        "all_requests": window.all_requests,
        "requests": window.requests,
        "per_second": window.requests / seconds,
    }
    for name, samples in (
        ("latency", window.latencies),
        ("ttft", window.first_chunks),
        ("chunk_delay", window.chunk_delays),
    ):
        if samples:
            summary[f"{name}_p50_ms"] = percentile(samples, 0.50) * 1e3
            summary[f"{name}_p99_ms"] = percentile(samples, 0.99) * 1e3
            summary[f"{name}_samples"] = len(samples)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the chat-completions route")
    parser.add_argument("--model", default="bench")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--chunks", type=int, default=0, help="0: one JSON body, no stream")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between two chunks")
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    load = Load(
        url=arguments.url,
        model=arguments.model,
        connections=arguments.connections,
        shape=Shape(arguments.chunks, arguments.delay),
        warmup=arguments.warmup,
        seconds=arguments.seconds,
    )
    gc.disable()  # its pauses would be counted as the system's
    figures = uvloop.run(measure(load))
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
