"""One request through a door: from its key and body to the last byte of its answer.

The same for every dialect; what differs is the door's.
"""

import contextlib
from collections.abc import AsyncIterator
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
    for_compass,
    idempotency_key,
    known,
    read_body,
    request_id_of,
    send_body,
    send_json,
)
from compass_ray.serving.presence import Presence, Watch
from compass_ray.serving.reading import Reading
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
    reader_patience: float
    """Seconds that a caller may take to read what was sent to it."""


class Doorway:
    """Answers requests of every dialect for one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._watch = Watch()

    async def answer(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of that dialect."""
        gateway, request_id = self._replica.gateway, request_id_of(scope)
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
        with self._watch.over(receive) as presence:
            try:
                told = for_compass(scope)
                if key is None:
                    reply: Reply | Replay = await gateway.answer(
                        raw, caller, request_id, told, kind=door.kind
                    )
                else:
                    reply = await self._replica.once.answer(
                        raw, caller, request_id, key, told, kind=door.kind
                    )
            except Exception as exc:  # noqa: BLE001  # every error has its shape
                presence.end()
                await send_error(send, visit.named(known(exc, request_id)), request_id, door)
                return
            way = _WayBack(send, door, visit, presence, self._replica.reader_patience)
            remaining = gateway.remaining(caller.account)
            with contextlib.suppress(TimeoutError):
                # Who does not read is not told; the server closes the connection.
                if isinstance(reply, Replay):
                    await way.tell_again(reply, of_replay(reply, remaining))
                else:
                    await way.tell(reply, of_reply(reply, remaining))


class _WayBack:
    """From what came of a request to its caller, who is given `patience` seconds to read."""

    __slots__ = ("door", "patience", "presence", "send", "visit")

    def __init__(
        self, send: Send, door: Door, visit: Visit, presence: Presence, patience: float
    ) -> None:
        self.send = send
        self.door = door
        self.visit = visit
        self.presence = presence
        self.patience = patience

    async def tell(self, reply: Reply, headers: Headers) -> None:
        """Send an answer."""
        headers = [*headers, *self.door.headers(reply.job.id)]
        try:
            if (body := reply.body) is None:
                await self._stream(self._written(reply), headers)
                return
            self.presence.end()
            try:
                written = self.visit.answer(body, _charged(reply))
            except Exception as exc:  # noqa: BLE001  # every error has its shape
                error = known(exc, reply.job.id)
                await send_error(self.send, error, reply.job.id, self.door)
            else:
                await send_body(self.send, 200, _JSON, written, headers)
        finally:
            await reply.close()

    async def tell_again(self, replay: Replay, headers: Headers) -> None:
        """Send an answer that was told before."""
        headers = [*headers, *self.door.headers(replay.request_id)]
        if replay.answer.stream:
            await self._stream(self._rewritten(replay), headers)
            return
        self.presence.end()
        body = self.visit.answer(orjson.loads(replay.body()), None)
        await send_body(self.send, 200, _JSON, body, headers)

    async def _stream(self, pieces: AsyncIterator[tuple[bytes, bool]], headers: Headers) -> None:
        """Send every piece.

        Raises:
            TimeoutError: the caller does not read.
        """
        headers = [*_SSE_HEADERS, *headers]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})
        async with Reading(self.patience) as reading:
            async for piece, more in pieces:
                if not more:
                    self.presence.end()
                reading.sending = True
                await self.send({"type": "http.response.body", "body": piece, "more_body": more})
                reading.sending = False
                reading.sent += 1

    async def _written(self, reply: Reply) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield what each chunk becomes, and whether more comes; the last is an end or an error."""
        visit = self.visit
        try:
            async for chunk in reply.chunks():
                yield visit.event(chunk), True
            last = visit.end(_charged(reply))
        except Exception as exc:  # noqa: BLE001  # what began as a stream ends as one
            last = visit.failure(visit.named(known(exc, reply.job.id)), reply.job.id)
        yield last, False

    async def _rewritten(self, replay: Replay) -> AsyncIterator[tuple[bytes, bool]]:
        for event in replay.events():
            yield self.visit.event(orjson.loads(event)), True
        yield self.visit.end(None), False


def _charged(reply: Reply) -> Usage | None:
    """Return what the answer was charged for: the provider's word or, without one, an estimate."""
    charge = reply.result.charge
    return None if charge is None else charge.usage


async def send_error(send: Send, error: CompassError, request_id: str, door: Door) -> None:
    """Send an error in the dialect's shape."""
    headers = [
        *error_headers(error),
        (REQUEST_ID, request_id.encode()),
        *door.headers(request_id),
    ]
    await send_json(send, error.status, door.error(error, request_id), headers)
