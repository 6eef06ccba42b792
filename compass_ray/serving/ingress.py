"""HTTP as callers see it: a door for each dialect, Compass's `/api/v1`, health and metrics.

The doors are answered straight on ASGI; the other routes go through Starlette's router.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Router, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from compass_ray.doors import messages_models
from compass_ray.doors.base import Door
from compass_ray.doors.chat import ChatDoor, EmbeddingsDoor
from compass_ray.doors.messages import MessagesDoor
from compass_ray.doors.responses import ResponsesDoor
from compass_ray.gateway.counting import TokenCounter
from compass_ray.gateway.once import Once
from compass_ray.gateway.pipeline import Gateway
from compass_ray.policy.alerts import as_json
from compass_ray.policy.select import explain
from compass_ray.serving.admin import Admin, only_reader
from compass_ray.serving.answer_headers import REQUEST_ID
from compass_ray.serving.batch_routes import BatchRoutes
from compass_ray.serving.batches import Batches
from compass_ray.serving.decisions import Decisions
from compass_ray.serving.doorway import Doorway, send_error
from compass_ray.serving.files import Files
from compass_ray.serving.http import (
    ClientLeft,
    credential,
    error_headers,
    idempotency_key,
    known,
    lifespan,
    load,
    read_body,
    request_id_of,
)
from compass_ray.serving.routes import ApiRoute, json_response, refuse_method
from compass_ray.serving.rules_watch import RulesWatch
from compass_ray.serving.run_streams import as_sse, deny, over_websocket
from compass_ray.serving.workflows import Workflows
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import CompassError, NotFound
from compass_ray.types.workflows import Kind

_CHAT = ChatDoor()
_MESSAGES = MessagesDoor()
_DOORS: Mapping[str, Door] = {
    door.path: door for door in (_CHAT, _MESSAGES, ResponsesDoor(), EmbeddingsDoor())
}


class Replica(Protocol):
    """What the routes need of the replica that serves them."""

    gateway: Gateway
    once: Once
    admin: Admin
    counter: TokenCounter
    decisions: Decisions
    rules: RulesWatch
    workflows: Workflows
    files: Files
    batches: Batches
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
        self._doorway = Doorway(replica)
        self._router = Router(
            [
                ApiRoute(
                    "/v1/messages/count_tokens",
                    self._guarded(self._count_tokens, _MESSAGES),
                    methods=["POST"],
                ),
                ApiRoute("/v1/models", self._shared(self._models)),
                ApiRoute("/v1/models/{name:path}", self._shared(self._model)),
                ApiRoute("/api/v1/health", self._health),
                ApiRoute("/api/v1/providers", self._guarded(self._providers)),
                ApiRoute(
                    "/api/v1/circuits", self._guarded(self._circuits), methods=["GET", "POST"]
                ),
                ApiRoute("/api/v1/budgets", self._guarded(self._budgets)),
                ApiRoute("/api/v1/alerts", self._guarded(self._alerts)),
                ApiRoute("/api/v1/adjustments", self._guarded(self._adjust), methods=["POST"]),
                ApiRoute("/api/v1/postings/{request_id}", self._guarded(self._postings)),
                ApiRoute("/api/v1/metrics", self._guarded(self._summary)),
                ApiRoute("/api/v1/route", self._guarded(self._route), methods=["POST"]),
                ApiRoute("/api/v1/decisions/{request_id}", self._guarded(self._decision)),
                ApiRoute("/api/v1/feedback", self._guarded(self._feedback), methods=["POST"]),
                ApiRoute(
                    "/api/v1/learning", self._guarded(self._learning), methods=["GET", "POST"]
                ),
                ApiRoute(
                    "/api/v1/experiments",
                    self._guarded(self._experiments),
                    methods=["GET", "POST"],
                ),
                ApiRoute("/api/v1/rules", self._guarded(self._rules)),
                ApiRoute("/api/v1/rules/reload", self._guarded(self._reload), methods=["POST"]),
                ApiRoute("/metrics", self._guarded(self._metrics)),
                *BatchRoutes(replica).routes(self._guarded),
                *self._runs("task"),
                ApiRoute("/api/v1/workflows/analytics", self._guarded(self._analytics)),
                *self._runs("workflow"),
            ],
            redirect_slashes=False,  # a redirect would name the host that the caller told
            default=_unknown,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            door = _DOORS.get(scope["path"])
            if door is None:
                await self._router(scope, receive, send)
            elif scope["method"] == "POST":
                await self._doorway.answer(door, scope, receive, send)
            else:
                await refuse_method(scope, send, ["POST"], door)
        elif scope["type"] == "lifespan":
            await lifespan(receive, send, self._replica.start, self._replica.stop)
        else:
            await self._router(scope, receive, send)

    def _guarded(
        self, route: Callable[[Request, Caller], Awaitable[Response]], door: Door = _CHAT
    ) -> Callable[[Request], Awaitable[Response]]:
        """Ask for a caller's key, and give errors the shape of `door`."""

        async def guarded(request: Request) -> Response:
            request_id = request_id_of(request.scope)
            try:
                caller = self._replica.gateway.authenticate(credential(request.scope))
                response = await route(request, caller)
            except ClientLeft:
                response = Response()  # nobody reads it
            except Exception as exc:  # noqa: BLE001  # every error has its shape
                response = _refusal(exc, request_id, door)
            response.raw_headers.append((REQUEST_ID, request_id.encode()))
            response.raw_headers.extend(door.headers(request_id))
            return response

        return guarded

    def _shared(
        self, route: Callable[[Request, Caller], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Guard a route where OpenAI's and Anthropic's clients meet; each has its own errors."""
        openai, anthropic = self._guarded(route), self._guarded(route, _MESSAGES)

        async def shared(request: Request) -> Response:
            return await (anthropic if _is_anthropic(request) else openai)(request)

        return shared

    def _runs(self, kind: Kind) -> list[BaseRoute]:
        """Return the routes of tasks, or of workflows."""
        path = f"/api/v1/{kind}s"
        return [
            ApiRoute(path, self._guarded(partial(self._workflows, kind)), methods=["GET", "POST"]),
            ApiRoute(
                path + "/{run}",
                self._guarded(partial(self._workflow, kind)),
                methods=["GET", "DELETE"],
            ),
            ApiRoute(path + "/{run}/stream", self._guarded(partial(self._events, kind))),
            WebSocketRoute(path + "/{run}/stream", partial(self._frames, kind)),
        ]

    async def _workflows(self, kind: Kind, request: Request, caller: Caller) -> Response:
        workflows = self._replica.workflows
        if request.method == "POST":
            asked = load(await self._body(request))
            key = idempotency_key(request.scope)
            told, over = await workflows.create(caller, kind, asked, key)
            return json_response(told, 200 if over else 202)
        return json_response(
            await workflows.listed(caller, kind, request.query_params.multi_items())
        )

    async def _workflow(self, kind: Kind, request: Request, caller: Caller) -> Response:
        run = request.path_params["run"]
        if request.method == "DELETE":
            return json_response(await self._replica.workflows.cancel(caller, kind, run))
        said = request.query_params.multi_items()
        told, over = await self._replica.workflows.summary(caller, kind, run, said)
        return json_response(told, 200 if over else 202)

    async def _analytics(self, request: Request, caller: Caller) -> Response:
        said = request.query_params.multi_items()
        return json_response(await self._replica.workflows.analytics(caller, said))

    async def _events(self, kind: Kind, request: Request, caller: Caller) -> Response:
        run, seen = request.path_params["run"], request.headers.get("last-event-id")
        said = request.query_params.multi_items()
        events = await self._replica.workflows.stream(caller, kind, run, said, seen)
        return StreamingResponse(
            as_sse(events), media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )

    async def _frames(self, kind: Kind, socket: WebSocket) -> None:
        run, said = socket.path_params["run"], socket.query_params.multi_items()
        try:
            caller = self._replica.gateway.authenticate(credential(socket.scope))
            events = await self._replica.workflows.stream(caller, kind, run, said)
        except Exception as exc:  # noqa: BLE001  # every error has its shape
            await deny(socket, _refusal(exc, request_id_of(socket.scope)))
            return
        await over_websocket(socket, events, self._replica.reader_patience)

    async def _count_tokens(self, request: Request, caller: Caller) -> Response:
        raw, visit = _MESSAGES.count(await self._body(request))
        try:
            count = await self._replica.counter.count(raw, caller)
        except CompassError as error:
            raise visit.named(error) from None
        return json_response(
            {"input_tokens": count.tokens, "compass": {"estimated": count.estimated}}
        )

    async def _models(self, request: Request, _caller: Caller) -> Response:
        models = self._replica.admin.models()
        if _is_anthropic(request):
            return json_response(messages_models.page(models, request.query_params))
        return json_response({"object": "list", "data": models})

    async def _model(self, request: Request, _caller: Caller) -> Response:
        name = request.path_params["name"]
        for model in self._replica.admin.models():
            if model["id"] == name:
                return json_response(
                    messages_models.model(model) if _is_anthropic(request) else model
                )
        raise NotFound(f"no model {name!r}", code="model_not_found", param="model")

    async def _providers(self, _request: Request, _caller: Caller) -> Response:
        return json_response({"data": self._replica.admin.providers()})

    async def _circuits(self, request: Request, caller: Caller) -> Response:
        if request.method == "POST":
            order = load(await self._body(request))
            return json_response(await self._replica.admin.operate(caller, order))
        return json_response({"data": await self._replica.admin.circuits()})

    async def _budgets(self, _request: Request, caller: Caller) -> Response:
        return json_response({"data": await self._replica.admin.budgets(caller)})

    async def _alerts(self, _request: Request, caller: Caller) -> Response:
        told = await self._replica.admin.alerts(caller)
        if caller.admin:
            told += [as_json(one) for one in await self._replica.decisions.shifts()]
        return json_response({"data": told})

    async def _adjust(self, request: Request, caller: Caller) -> Response:
        order = load(await self._body(request))
        return json_response(await self._replica.admin.adjust(caller, order))

    async def _postings(self, request: Request, caller: Caller) -> Response:
        request_id = request.path_params["request_id"]
        return json_response({"data": await self._replica.admin.postings(caller, request_id)})

    async def _route(self, request: Request, caller: Caller) -> Response:
        return json_response(
            explain(self._replica.gateway.dry_run(await self._body(request), caller))
        )

    async def _decision(self, request: Request, caller: Caller) -> Response:
        request_id = request.path_params["request_id"]
        return json_response(await self._replica.decisions.decision(caller, request_id))

    async def _feedback(self, request: Request, caller: Caller) -> Response:
        said = load(await self._body(request))
        return json_response(await self._replica.decisions.judge(caller, said))

    async def _learning(self, request: Request, caller: Caller) -> Response:
        if request.method == "POST":
            order = load(await self._body(request))
            return json_response(await self._replica.decisions.operate(caller, order))
        return json_response(await self._replica.decisions.learning(caller))

    async def _experiments(self, request: Request, caller: Caller) -> Response:
        if request.method == "POST":
            order = load(await self._body(request))
            return json_response(await self._replica.decisions.operate_experiment(caller, order))
        return json_response({"data": await self._replica.decisions.experiments(caller)})

    async def _rules(self, _request: Request, caller: Caller) -> Response:
        return json_response(self._replica.rules.told(caller))

    async def _reload(self, _request: Request, caller: Caller) -> Response:
        return json_response(await self._replica.rules.reload(caller))

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._replica.max_body_bytes)

    async def _health(self, _request: Request) -> Response:
        health = self._replica.health()
        return json_response(health, 200 if health["status"] == "ok" else 503)

    async def _metrics(self, _request: Request, caller: Caller) -> Response:
        only_reader(caller)
        return Response(
            await self._replica.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def _summary(self, _request: Request, caller: Caller) -> Response:
        only_reader(caller)
        return json_response(await self._replica.summary())


def _is_anthropic(request: Request) -> bool:
    """Whether Anthropic's client asks: it says so on every request, and no other does."""
    return "anthropic-version" in request.headers


def _refusal(error: Exception, request_id: str, door: Door = _CHAT) -> Response:
    """Return an error in the shape of `door`."""
    told = known(error, request_id)
    response = json_response(door.error(told, request_id), told.status)
    response.raw_headers.extend(error_headers(told))
    return response


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    request_id, method = request_id_of(scope), scope.get("method", "WebSocket")
    error = NotFound(f"no route {method} {scope['path']!r}", code="unknown_route")
    if scope["type"] == "websocket":
        await deny(WebSocket(scope, receive, send), _refusal(error, request_id))
    else:
        await send_error(send, error, request_id, _CHAT)
