"""The Serve deployment of the gateway: one replica's HTTP application and its Python handle."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from ray import serve

from compass_ray.gateway.once import Replay
from compass_ray.gateway.reply import Reply
from compass_ray.serving.authorities import connect, host
from compass_ray.serving.http import new_request_id
from compass_ray.serving.ingress import Ingress
from compass_ray.serving.replica import Replica
from compass_ray.settings import Settings
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Told
from compass_ray.types.requests import Kind


@serve.ingress()
class GatewayDeployment:
    """One replica. HTTP goes to the ASGI application, handles to `chat`, `stream` and `embed`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._replica = Replica(settings, lambda: connect(settings), host)

    def __serve_build_asgi_app__(self) -> Ingress:
        """Return the application that Serve runs; its lifespan starts and stops the replica."""
        return Ingress(self._replica)

    async def check_health(self) -> None:
        """Fail when one of the replica's background tasks has ended; Serve then replaces it."""
        self._replica.check()

    async def chat(
        self,
        body: Mapping[str, Any],
        api_key: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Answer a chat-completions body (without `stream`) with a whole completion.

        `compass` in the answer tells request id, endpoint, tier, cost and attempts. The same body
        with the same `idempotency_key` is answered once, and told the same answer later.

        Raises:
            CompassError
        """
        reply = await self._reply({**body, "stream": False}, api_key, idempotency_key)
        if isinstance(reply, Replay):
            return {**orjson.loads(reply.body()), "compass": reply.about()}
        return reply.body or {}

    async def step(
        self, body: Mapping[str, Any], caller: Caller, idempotency_key: str
    ) -> dict[str, Any]:
        """Answer a workflow's call as `chat`; also when told again, `compass` is the first's.

        Raises:
            CompassError
        """
        return await self._replica.workflows.to_its_end(
            self._step(body, caller, idempotency_key), caller.account, idempotency_key
        )

    async def _step(
        self, body: Mapping[str, Any], caller: Caller, idempotency_key: str
    ) -> dict[str, Any]:
        reply = await self._replica.once.answer(
            orjson.dumps(body), caller, new_request_id(), idempotency_key
        )
        if isinstance(reply, Replay):
            told: dict[str, Any] = orjson.loads(reply.body())
            return told
        return reply.body or {}

    async def line(self, endpoint: str, body: bytes, caller: Caller, idempotency_key: str) -> Told:
        """Answer a request of a batch, or say what is wrong.

        Raises:
            IdempotencyUnavailable: ask again with the same key.
        """
        work = self._replica.lines.ask(endpoint, body, caller, idempotency_key)
        return await self._replica.batches.to_its_end(work, caller.account, idempotency_key)

    async def stream(
        self,
        body: Mapping[str, Any],
        api_key: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the answer's chunks; use `handle.options(stream=True)`.

        Raises:
            CompassError
        """
        reply = await self._reply({**body, "stream": True}, api_key, idempotency_key)
        if isinstance(reply, Replay):
            for event in reply.events():
                yield orjson.loads(event)
            return
        try:
            async for chunk in reply.chunks():
                yield dict(chunk)
        finally:
            await reply.close()

    async def embed(
        self,
        body: Mapping[str, Any],
        api_key: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Answer an embeddings body with OpenAI's list of embeddings; otherwise as `chat`.

        Raises:
            CompassError
        """
        reply = await self._reply(body, api_key, idempotency_key, "embeddings")
        if isinstance(reply, Replay):
            return {**orjson.loads(reply.body()), "compass": reply.about()}
        told: dict[str, Any] = orjson.loads(orjson.dumps(reply.body))  # its numbers are written
        return told

    async def _reply(
        self,
        body: Mapping[str, Any],
        api_key: str | None,
        idempotency_key: str | None,
        kind: Kind = "chat",
    ) -> Reply | Replay:
        replica, request_id = self._replica, new_request_id()
        caller = replica.gateway.authenticate(api_key)
        raw = orjson.dumps(body)
        if idempotency_key is None:
            return await replica.gateway.answer(raw, caller, request_id, kind=kind)
        return await replica.once.answer(raw, caller, request_id, idempotency_key, kind=kind)
