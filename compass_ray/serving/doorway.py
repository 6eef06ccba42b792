"""One request through a door: from its key and body to the last byte of its answer.

The same for every dialect; what differs is the door's.
"""

from typing import Protocol

import orjson
from starlette.types import Receive, Scope, Send

from compass_ray.doors.base import Door, Headers, Visit
from compass_ray.gateway.once import Once, Replay
from compass_ray.gateway.pipeline import Gateway
from compass_ray.gateway.reply import Reply
from compass_ray.serving.answer_headers import REQUEST_ID, of_replay, of_reply
from compass_ray.serving.http import (
    ClientLeft,
    credential,
    error_headers,
    idempotency_key,
    known,
    new_request_id,
    read_body,
    send_body,
    send_json,
)
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import CompassError
from compass_ray.types.usage import Usage

_JSON = b"application/json"
_SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Replica(Protocol):
    """What a request needs of the replica that answers it."""

    gateway: Gateway
    once: Once
    max_body_bytes: int


class Doorway:
    """Answers requests of every dialect for one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def answer(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of that dialect."""
        gateway, request_id = self._replica.gateway, new_request_id()
        caller: Caller | None = None
        try:
            caller = gateway.authenticate(credential(scope))
            key = idempotency_key(scope)
            raw, visit = door.enter(await read_body(scope, receive, self._replica.max_body_bytes))
        except ClientLeft:
            return
        except Exception as exc:  # noqa: BLE001  # every error has its shape
            error = known(exc, request_id)
            gateway.refuse(request_id, error, caller)
            await send_error(send, error, request_id, door)
            return
        try:
            if key is None:
                reply: Reply | Replay = await gateway.chat(raw, caller, request_id)
            else:
                reply = await self._replica.once.chat(raw, caller, request_id, key)
        except Exception as exc:  # noqa: BLE001  # every error has its shape
            await send_error(send, visit.named(known(exc, request_id)), request_id, door)
            return
        remaining = gateway.remaining(caller.account)
        if isinstance(reply, Replay):
            headers = [*of_replay(reply, remaining), *door.headers(reply.request_id)]
            await _send_replay(send, reply, visit, headers)
            return
        try:
            headers = [*of_reply(reply, remaining), *door.headers(request_id)]
            if reply.body is not None:
                await _send_whole(send, reply, (door, visit), headers)
            else:
                await _send_stream(send, reply, visit, headers)
        finally:
            await reply.close()


async def _send_whole(
    send: Send, reply: Reply, through: tuple[Door, Visit], headers: Headers
) -> None:
    door, visit = through
    try:
        written = visit.answer(reply.body or {}, _charged(reply))
    except Exception as exc:  # noqa: BLE001  # every error has its shape
        await send_error(send, known(exc, reply.job.id), reply.job.id, door)
    else:
        await send_body(send, 200, _JSON, written, headers)


async def _send_replay(send: Send, replay: Replay, visit: Visit, headers: Headers) -> None:
    if not replay.answer.stream:
        body = visit.answer(orjson.loads(replay.body()), None)
        await send_body(send, 200, _JSON, body, headers)
        return
    await _begin_stream(send, headers)
    for event in replay.events():
        await _send_piece(send, visit.event(orjson.loads(event)), more=True)
    await _send_piece(send, visit.end(None), more=False)


async def _send_stream(send: Send, reply: Reply, visit: Visit, headers: Headers) -> None:
    """Send what each chunk becomes, and as the last either the end or an error."""
    await _begin_stream(send, headers)
    advance, write = reply.chunks().__anext__, visit.event
    last: bytes | None = None
    while last is None:
        try:
            frame = write(await advance())
        except StopAsyncIteration:
            last = visit.end(_charged(reply))
        except Exception as exc:  # noqa: BLE001  # what began as a stream ends as one
            last = visit.failure(visit.named(known(exc, reply.job.id)), reply.job.id)
        else:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    await _send_piece(send, last, more=False)


async def _begin_stream(send: Send, headers: Headers) -> None:
    headers = [*_SSE_HEADERS, *headers]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send_piece(send: Send, piece: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": more})


def _charged(reply: Reply) -> Usage | None:
    """Return what the answer was charged for: the provider's word or, without one, an estimate."""
    charges = reply.job.charges
    return charges[-1].usage if charges else None


async def send_error(send: Send, error: CompassError, request_id: str, door: Door) -> None:
    """Send an error in the dialect's shape."""
    headers = [
        *error_headers(error),
        (REQUEST_ID, request_id.encode()),
        *door.headers(request_id),
    ]
    await send_json(send, error.status, door.error(error, request_id), headers)
