"""A provider that costs almost nothing: OpenAI's chat completions, whole and streamed.

Every content chunk of a stream says when it was written (CLOCK_MONOTONIC, nanoseconds), so that a
reader on the same machine can tell how long it was under way.
"""

import argparse
import asyncio
import gc
import time
from collections import deque
from typing import cast

import httptools
import orjson
import uvloop

from benchmarks.contract import ANSWER_TOKENS, Shape, answer_text, find_mark, usage

_MODELS = ("bench", "gpt-4o", "gpt-4o-mini")
_PLACE = "PLACE"
_IDENTITY = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench"}


def _split(value: object) -> tuple[bytes, bytes]:
    """Return a JSON text in two halves, around its placeholder."""
    before, _, after = orjson.dumps(value).partition(_PLACE.encode())
    return before, after


def _event(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _IDENTITY | {"object": "chat.completion.chunk", "choices": [choice]}


_ANSWER = _split(
    _IDENTITY
    | {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer_text(_PLACE)},
                "finish_reason": "stop",
            }
        ],
        "usage": usage(ANSWER_TOKENS),
    }
)
_CHUNK = _split(_event({"content": _PLACE}))
_ROLE = b"data: " + orjson.dumps(_event({"role": "assistant", "content": ""})) + b"\n\n"
_FINISH = b"data: " + orjson.dumps(_event({}, "stop")) + b"\n\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _json(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def _part(data: bytes) -> bytes:
    """Frame `data` as one part of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _last_events(chunks: int) -> bytes:
    """Return the end of a stream: the finish, the usage and the terminal event."""
    count = _IDENTITY | {
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": usage(chunks),
    }
    return _FINISH + b"data: " + orjson.dumps(count) + b"\n\ndata: [DONE]\n\n"


_LIST = _json(
    b"200 OK",
    orjson.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in _MODELS]}),
)
_UNKNOWN = _json(b"404 Not Found", b'{"error":{"message":"no such route or no mark"}}')


class Connection(asyncio.Protocol):
    """One caller. Requests that arrive while a stream runs wait for its end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._body = b""
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop a stream that nobody reads."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Read as many requests as there are."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Begin a request."""
        self._url, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        """Collect a request's body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer, in the order of arrival."""
        if self._streaming:
            self._waiting.append((self._url, self._body))
        else:
            self._answer(self._url, self._body)

    def _answer(self, url: bytes, body: bytes) -> None:
        if self._transport is None:
            return
        if url.endswith(b"/models"):
            self._transport.write(_LIST)
        elif url.endswith(b"/chat/completions") and (found := find_mark(body)):
            mark, shape = found
            if shape.chunks:
                self._streaming = True
                self._transport.write(_STREAM_HEAD + _part(_ROLE))
                self._next_chunk(mark, shape, 0, self._loop.time())
            elif shape.delay:
                self._loop.call_later(shape.delay, self._answer_whole, mark)
            else:
                self._answer_whole(mark)
        else:
            self._transport.write(_UNKNOWN)

    def _answer_whole(self, mark: bytes) -> None:
        if self._transport is not None:
            self._transport.write(_json(b"200 OK", mark.join(_ANSWER)))

    def _next_chunk(self, mark: bytes, shape: Shape, index: int, due: float) -> None:
        if self._transport is None:
            return
        content = b"%s %d %d " % (mark, index, time.monotonic_ns())
        self._transport.write(_part(b"data: " + content.join(_CHUNK) + b"\n\n"))
        index += 1
        if index == shape.chunks:
            self._transport.write(_part(_last_events(shape.chunks)) + b"0\r\n\r\n")
            self._end_stream()
        elif shape.delay:
            due += shape.delay  # from the last due time, not from now: the pace does not drift
            self._loop.call_at(due, self._next_chunk, mark, shape, index, due)
        else:
            self._loop.call_soon(self._next_chunk, mark, shape, index, due)

    def _end_stream(self) -> None:
        self._streaming = False
        while self._waiting and not self._streaming:
            self._answer(*self._waiting.popleft())


async def serve(port: int) -> None:
    """Serve for ever on 127.0.0.1; port 0 takes a free one. Prints the port when ready."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    gc.disable()  # its pauses would be counted as the gateway's
    uvloop.run(serve(arguments.port))


if __name__ == "__main__":
    main()
