"""OpenAI's wire before several local models: each request goes to the replicas of its model.

Without Ray: the replicas come as a port. What a model answers is passed on as it is.
"""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Protocol

from starlette.types import Receive, Scope, Send

from compass_ray.config.local_models import LocalModel
from compass_ray.doors.chat import error_body
from compass_ray.serving.asgi_exchange import Asked, Head
from compass_ray.serving.http import (
    ClientLeft,
    error_headers,
    known,
    lifespan,
    load,
    new_request_id,
    read_body,
    send_json,
)
from compass_ray.types.errors import (
    CompassError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    UnknownModel,
)

State = Literal["ready", "starting", "asleep", "failed"]
"""Of a model: a replica answers, one is on its way, none is wanted, or none can be had."""

_POSTS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
_GETS = frozenset({"/v1/models", "/health"})
_MAX_BODY_BYTES = 64 * 1024 * 1024


class Fleet(Protocol):
    """The models' replicas."""

    async def follow(self) -> None:
        """Begin to keep the states up to date."""

    async def leave(self) -> None:
        """End it."""

    def states(self) -> Mapping[str, State]:
        """Return the latest state of every model."""

    def ask(self, model: str, asked: Asked) -> AsyncGenerator[Head | bytes, None]:
        """Yield a replica's answer; waits for one where there is none. Closing it cancels."""


class ModelIngress:
    """The ASGI application in front of all local models."""

    def __init__(self, models: Sequence[LocalModel], fleet: Fleet) -> None:
        self._models = models
        self._of = {name: model.name for model in models for name in model.called}
        self._fleet = fleet
        self._created = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await lifespan(receive, send, self._fleet.follow, self._fleet.leave)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        try:
            if path in _POSTS:
                _require(scope, "POST")
                body = await read_body(scope, receive, _MAX_BODY_BYTES)
                await self._answer(Asked(path, body), send)
            elif path in _GETS:
                _require(scope, "GET")
                told = {"status": "ok"} if path == "/health" else self._list()
                await send_json(send, 200, told)
            else:
                raise NotFound(f"no route {path!r}")
        except ClientLeft:
            return
        except CompassError as error:
            told = error_body(error, new_request_id())
            await send_json(send, error.status, told, error_headers(error))

    async def _answer(self, asked: Asked, send: Send) -> None:
        model = self._meant(load(asked.body))
        if self._fleet.states()[model] == "failed":
            raise Overloaded(f"the model {model!r} does not start")
        begun = False
        async with aclosing(self._fleet.ask(model, asked)) as pieces:
            try:
                async for piece in pieces:
                    begun = True
                    await send(_message(piece))
            except Exception as exc:
                if begun:
                    raise  # the connection breaks off, which says more than an end would
                error = known(exc, new_request_id())
                raise Overloaded(f"the model {model!r} cannot answer") from error
        await send({"type": "http.response.body", "body": b""})

    def _meant(self, body: Any) -> str:
        name = body.get("model") if isinstance(body, dict) else None
        if not isinstance(name, str):
            raise InvalidRequest("model must be text", param="model")
        if name not in self._of:
            raise UnknownModel(f"no model {name!r}", code="model_not_found", param="model")
        return self._of[name]

    def _list(self) -> dict[str, object]:
        """Return OpenAI's list of models; `starts_in_s` and `state` are said beside it.

        `starts_in_s`: seconds until a request is answered, as expected; null: it cannot be.
        """
        states = self._fleet.states()
        starts = {"ready": 0.0, "failed": None}
        listed = [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "vllm",
                "state": (state := states[model.name]),
                "starts_in_s": starts.get(state, model.start_s),
            }
            for model in self._models
            for name in model.called
        ]
        return {"object": "list", "data": listed}


def _require(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise MethodNotAllowed(f"this route takes {method}", allowed=[method])


def _message(piece: Head | bytes) -> dict[str, Any]:
    if isinstance(piece, bytes):
        return {"type": "http.response.body", "body": piece, "more_body": True}
    headers = [(b"content-type", piece.content_type)]
    return {"type": "http.response.start", "status": piece.status, "headers": headers}
