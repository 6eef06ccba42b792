"""The few ASGI messages that Compass sends, and what it reads of a request."""

import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from math import ceil
from traceback import extract_tb
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from compass_ray.doors.base import Headers
from compass_ray.types.errors import (
    BodyTooLarge,
    CompassError,
    Defect,
    InvalidRequest,
    MethodNotAllowed,
    Unauthenticated,
)

_log = logging.getLogger("compass")

GIVEN_ID = "compass.request_id"
"""The key of an ASGI scope under which a request's id is, where it has one already."""


class ClientLeft(Exception):
    """The client closed its connection before its request was complete."""


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def credential(scope: Scope) -> str | None:
    """Return the caller's key from `Authorization: Bearer` or `x-api-key`."""
    value = header(scope, b"authorization")
    if value is None:
        return header(scope, b"x-api-key")
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def idempotency_key(scope: Scope) -> str | None:
    """Return the caller's `Idempotency-Key`; several give what no key can be."""
    found = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    return str(b"\n".join(found), "latin-1") if found else None


def for_compass(scope: Scope) -> dict[str, str]:
    """Return the headers by which a caller tells Compass what to do."""
    return {
        str(key, "latin-1"): str(value, "latin-1")
        for key, value in scope["headers"]
        if key.startswith(b"x-compass-")
    }


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: before more than `limit` bytes were read.
        ClientLeft
    """
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdecimal() and int(announced) > limit:
        raise BodyTooLarge(f"the body exceeds {limit} bytes", code="body_too_large")
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(f"the body exceeds {limit} bytes", code="body_too_large")
        if not message.get("more_body"):
            return b"".join([*pieces, piece]) if pieces else piece
        pieces.append(piece)


async def lifespan(
    receive: Receive,
    send: Send,
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> None:
    """Do what belongs to the beginning and the end of an ASGI application."""
    await receive()
    await start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await stop()
    await send({"type": "lifespan.shutdown.complete"})


def new_request_id() -> str:
    """Return a fresh request id; unique, and no secret."""
    return f"req_{random.getrandbits(96):024x}"


def request_id_of(scope: Scope) -> str:
    """Return the id that a request was given when it came in, else a fresh one."""
    given: str | None = scope.get(GIVEN_ID)
    return given or new_request_id()


def load(raw: bytes) -> Any:
    """Return a body's JSON.

    Raises:
        InvalidRequest
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}", code="invalid_json") from None


async def send_json(
    send: Send, status: int, body: Any, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send `body` as JSON."""
    await send_body(send, status, b"application/json", orjson.dumps(body), headers)


async def send_body(
    send: Send,
    status: int,
    content_type: bytes,
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a whole response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def known(error: Exception, request_id: str) -> CompassError:
    """Return `error`, or where nobody expected it a `Defect`; its place is logged.

    Its message is not: it may hold a caller's words.
    """
    if isinstance(error, CompassError):
        return error
    places = [f"{at.name} ({at.filename}:{at.lineno})" for at in extract_tb(error.__traceback__)]
    _log.error("%s in %s: %s", type(error).__name__, request_id, " > ".join(places))
    return Defect("Compass made a mistake; its log says where", code="defect")


def error_headers(error: CompassError) -> Headers:
    """Return the headers that an error calls for."""
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, ceil(error.retry_after))).encode()))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    return headers
