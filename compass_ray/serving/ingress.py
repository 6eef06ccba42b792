"""HTTP as callers see it: OpenAI's `/v1`, Compass's `/api/v1`, health and metrics.

The hot route is answered straight on ASGI; the others go through Starlette's router.
"""

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from compass_ray.gateway.once import Once, Replay
from compass_ray.gateway.pipeline import Gateway
from compass_ray.gateway.reply import Reply
from compass_ray.policy.select import explain
from compass_ray.serving.admin import Admin
from compass_ray.serving.answer_headers import REQUEST_ID, of_replay, of_reply
from compass_ray.serving.decisions import Decisions
from compass_ray.serving.http import (
    ClientLeft,
    Headers,
    error_body,
    error_headers,
    for_compass,
    header,
    idempotency_key,
    known,
    load,
    read_body,
    send_body,
    send_json,
)
from compass_ray.serving.presence import Presence
from compass_ray.serving.reading import Reading
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import CompassError, MethodNotAllowed, NotFound
from compass_ray.types.usage import Money

_CHAT = "/v1/chat/completions"
_DONE = b"[DONE]"
_SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Replica(Protocol):
    """What the routes need of the replica that serves them."""

    gateway: Gateway
    once: Once
    admin: Admin
    decisions: Decisions
    max_body_bytes: int
    reader_patience: float
    """Seconds that a caller may take to read what was sent to it."""

    async def start(self) -> None:
        """Open connections and begin to follow the authorities."""

    async def stop(self) -> None:
        """Hand everything back."""

    def health(self) -> dict[str, object]:
        """Return what a load balancer wants to know."""

    async def exposition(self) -> bytes:
        """Return all replicas' metrics in Prometheus' text format."""

    async def summary(self) -> dict[str, object]:
        """Return all replicas' metrics as JSON."""


class Ingress:
    """The ASGI application of one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._router = Router(
            [
                _Route("/v1/models", self._guarded(self._models)),
                _Route("/v1/models/{name:path}", self._guarded(self._model)),
                _Route("/api/v1/health", self._health),
                _Route("/api/v1/providers", self._guarded(self._providers)),
                _Route("/api/v1/circuits", self._guarded(self._circuits), methods=["GET", "POST"]),
                _Route("/api/v1/budgets", self._guarded(self._budgets)),
                _Route("/api/v1/alerts", self._guarded(self._alerts)),
                _Route("/api/v1/adjustments", self._guarded(self._adjust), methods=["POST"]),
                _Route("/api/v1/postings/{request_id}", self._guarded(self._postings)),
                _Route("/api/v1/metrics", self._guarded(self._summary)),
                _Route("/api/v1/route", self._guarded(self._route), methods=["POST"]),
                _Route("/api/v1/decisions/{request_id}", self._guarded(self._decision)),
                _Route("/api/v1/feedback", self._guarded(self._feedback), methods=["POST"]),
                _Route("/api/v1/learning", self._guarded(self._learning), methods=["GET", "POST"]),
                _Route("/metrics", self._metrics),
            ],
            redirect_slashes=False,  # a redirect would name the host that the caller told
            default=_unknown,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            if scope["path"] != _CHAT:
                await self._router(scope, receive, send)
            elif scope["method"] == "POST":
                await self._chat(scope, receive, send)
            else:
                await _refuse_method(scope, send, ["POST"])
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._replica.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._replica.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway, request_id = self._replica.gateway, new_request_id()
        try:
            caller = gateway.authenticate(credential(scope))
            key = idempotency_key(scope)
            raw = await read_body(scope, receive, self._replica.max_body_bytes)
        except CompassError as error:
            gateway.refuse(request_id, error)
            await _send_error(send, error, request_id)
            return
        except ClientLeft:
            return
        with Presence(receive) as presence:
            try:
                told = for_compass(scope)
                if key is None:
                    reply: Reply | Replay = await gateway.chat(raw, caller, request_id, told)
                else:
                    reply = await self._replica.once.chat(raw, caller, request_id, key, told)
            except Exception as error:  # noqa: BLE001  # every error has its shape
                presence.end()
                await _send_error(send, known(error, request_id), request_id)
                return
            remaining, patience = gateway.remaining(caller.account), self._replica.reader_patience
            with contextlib.suppress(TimeoutError):
                # Who does not read is not told; the server closes the connection.
                if isinstance(reply, Replay):
                    await _send_replay(send, reply, remaining, patience, presence)
                else:
                    await _send_reply(send, reply, remaining, patience, presence)

    def _guarded(
        self, route: Callable[[Request, Caller], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Ask for a caller's key, and give errors their shape."""

        async def guarded(request: Request) -> Response:
            request_id = new_request_id()
            try:
                caller = self._replica.gateway.authenticate(credential(request.scope))
                response = await route(request, caller)
            except ClientLeft:
                response = Response()  # nobody reads it
            except Exception as exc:  # noqa: BLE001  # every error has its shape
                error = known(exc, request_id)
                response = _json(error_body(error, request_id), error.status)
                response.raw_headers.extend(error_headers(error))
            response.raw_headers.append((REQUEST_ID, request_id.encode()))
            return response

        return guarded

    async def _models(self, _request: Request, _caller: Caller) -> Response:
        return _json({"object": "list", "data": self._replica.admin.models()})

    async def _model(self, request: Request, _caller: Caller) -> Response:
        name = request.path_params["name"]
        for model in self._replica.admin.models():
            if model["id"] == name:
                return _json(model)
        raise NotFound(f"no model {name!r}", code="model_not_found", param="model")

    async def _providers(self, _request: Request, _caller: Caller) -> Response:
        return _json({"data": self._replica.admin.providers()})

    async def _circuits(self, request: Request, caller: Caller) -> Response:
        if request.method == "POST":
            order = load(await self._body(request))
            return _json(await self._replica.admin.operate(caller, order))
        return _json({"data": await self._replica.admin.circuits()})

    async def _budgets(self, _request: Request, caller: Caller) -> Response:
        return _json({"data": await self._replica.admin.budgets(caller)})

    async def _alerts(self, _request: Request, caller: Caller) -> Response:
        return _json({"data": await self._replica.admin.alerts(caller)})

    async def _adjust(self, request: Request, caller: Caller) -> Response:
        order = load(await self._body(request))
        return _json(await self._replica.admin.adjust(caller, order))

    async def _postings(self, request: Request, caller: Caller) -> Response:
        request_id = request.path_params["request_id"]
        return _json({"data": await self._replica.admin.postings(caller, request_id)})

    async def _route(self, request: Request, caller: Caller) -> Response:
        return _json(explain(self._replica.gateway.dry_run(await self._body(request), caller)))

    async def _decision(self, request: Request, caller: Caller) -> Response:
        request_id = request.path_params["request_id"]
        return _json(await self._replica.decisions.decision(caller, request_id))

    async def _feedback(self, request: Request, caller: Caller) -> Response:
        said = load(await self._body(request))
        return _json(await self._replica.decisions.judge(caller, said))

    async def _learning(self, request: Request, caller: Caller) -> Response:
        if request.method == "POST":
            order = load(await self._body(request))
            return _json(await self._replica.decisions.operate(caller, order))
        return _json(await self._replica.decisions.learning(caller))

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._replica.max_body_bytes)

    async def _health(self, _request: Request) -> Response:
        health = self._replica.health()
        return _json(health, 200 if health["status"] == "ok" else 503)

    async def _metrics(self, _request: Request) -> Response:
        return Response(
            await self._replica.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def _summary(self, _request: Request, _caller: Caller) -> Response:
        return _json(await self._replica.summary())


class _Route(Route):
    """A route that refuses other methods in the shape of all errors."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if self.methods and scope["method"] not in self.methods:
            await _refuse_method(scope, send, sorted(self.methods))
        else:
            await super().handle(scope, receive, send)


async def _unknown(scope: Scope, _receive: Receive, send: Send) -> None:
    error = NotFound(f"no route {scope['method']} {scope['path']!r}", code="unknown_route")
    await _send_error(send, error, new_request_id())


async def _refuse_method(scope: Scope, send: Send, allowed: Sequence[str]) -> None:
    error = MethodNotAllowed(f"{scope['path']} does not take {scope['method']}", allowed=allowed)
    await _send_error(send, error, new_request_id())


async def _send_reply(
    send: Send, reply: Reply, remaining: Money | None, patience: float, presence: Presence
) -> None:
    try:
        headers = of_reply(reply, remaining)
        if (body := reply.body) is None:
            await _send_stream(send, _events(reply), headers, patience, presence)
        else:
            presence.end()
            await send_json(send, 200, body, headers)
    finally:
        await reply.close()


async def _send_replay(
    send: Send, replay: Replay, remaining: Money | None, patience: float, presence: Presence
) -> None:
    headers = of_replay(replay, remaining)
    if replay.answer.stream:
        await _send_stream(send, _replayed(replay), headers, patience, presence)
    else:
        presence.end()
        await send_body(send, 200, b"application/json", replay.body(), headers)


async def _send_stream(
    send: Send,
    events: AsyncIterator[tuple[bytes, bool]],
    headers: Headers,
    patience: float,
    presence: Presence,
) -> None:
    """Send every event.

    Raises:
        TimeoutError: the caller does not read.
    """
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [*_SSE_HEADERS, *headers],
        }
    )
    async with Reading(patience) as reading:
        async for event, more in events:
            if not more:
                presence.end()
            reading.sending = True
            await send(
                {
                    "type": "http.response.body",
                    "body": b"data: " + event + b"\n\n",
                    "more_body": more,
                }
            )
            reading.sending = False
            reading.sent += 1


async def _events(reply: Reply) -> AsyncIterator[tuple[bytes, bool]]:
    """Yield each event, and whether more come; the last is either `[DONE]` or an error."""
    last = _DONE
    try:
        async for chunk in reply.chunks():
            yield orjson.dumps(chunk), True
    except Exception as exc:  # noqa: BLE001  # what began as a stream ends as one
        error = known(exc, reply.job.id)
        last = orjson.dumps(error_body(error, reply.job.id))
    yield last, False


async def _replayed(replay: Replay) -> AsyncIterator[tuple[bytes, bool]]:
    for event in replay.events():
        yield event, True
    yield _DONE, False


async def _send_error(send: Send, error: CompassError, request_id: str) -> None:
    headers = [*error_headers(error), (REQUEST_ID, request_id.encode())]
    await send_json(send, error.status, error_body(error, request_id), headers)


def new_request_id() -> str:
    """Return a fresh request id; unique, and no secret."""
    return f"req_{random.getrandbits(96):024x}"


def credential(scope: Scope) -> str | None:
    """Return the caller's key from `Authorization: Bearer` or `x-api-key`."""
    value = header(scope, b"authorization")
    if value is None:
        return header(scope, b"x-api-key")
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
