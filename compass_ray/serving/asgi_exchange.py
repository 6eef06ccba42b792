"""One HTTP exchange with an ASGI application of this process, in pieces that can be sent on.

Without Ray: a replica yields the pieces, and whoever holds its handle sends them to a caller.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope


@dataclass(frozen=True, slots=True)
class Asked:
    """A POST request: where to, and its whole JSON body."""

    path: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins."""

    status: int
    content_type: bytes


async def exchange(app: ASGIApp, asked: Asked) -> AsyncGenerator[Head | bytes]:
    """Yield the answer of `app`: its head, then what there is of its body each time.

    Closing the iterator ends the application's work, as a caller who leaves does.

    Raises:
        Exception: what the application raised instead of an answer, or in its middle.
    """
    news = asyncio.Event()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        news.set()

    work = asyncio.ensure_future(app(_scope(asked), _receive(asked), send))
    work.add_done_callback(lambda _: news.set())
    try:
        while sent or not work.done():
            await news.wait()
            news.clear()
            taken = sent.copy()
            sent.clear()
            for message in taken:
                if message["type"] == "http.response.start":
                    yield Head(message["status"], _content_type(message))
            if body := b"".join(message.get("body", b"") for message in taken):
                yield body
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def _scope(asked: Asked) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(asked.body)).encode()),
        ],
        "client": None,
        "server": None,
        "state": {},
    }


def _receive(asked: Asked) -> Receive:
    messages = [{"type": "http.request", "body": asked.body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # whoever leaves cancels the work
        return messages.pop()

    return receive


def _content_type(message: Message) -> bytes:
    headers = dict(message.get("headers", ()))
    found: bytes = headers.get(b"content-type", b"application/json")
    return found
