"""The Serve deployment of the gateway: one replica's HTTP application and its Python handle."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from ray import serve

from compass_ray.serving.authorities import connect, host
from compass_ray.serving.ingress import Ingress, new_request_id
from compass_ray.serving.replica import Replica
from compass_ray.settings import Settings


@serve.ingress()
class GatewayDeployment:
    """One replica. HTTP goes to the ASGI application, handles to `chat` and `stream`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._replica = Replica(settings, lambda: connect(settings), host)

    def __serve_build_asgi_app__(self) -> Ingress:
        """Return the application that Serve runs; its lifespan starts and stops the replica."""
        return Ingress(self._replica)

    async def check_health(self) -> None:
        """Fail when one of the replica's background tasks has ended; Serve then replaces it."""
        self._replica.check()

    async def chat(self, body: Mapping[str, Any], api_key: str | None = None) -> dict[str, Any]:
        """Answer a chat-completions body (without `stream`) with a whole completion.

        `compass` in the answer tells request id, endpoint, tier, cost and attempts.

        Raises:
            CompassError
        """
        gateway = self._replica.gateway
        caller = gateway.authenticate(api_key)
        raw = orjson.dumps({**body, "stream": False})
        reply = await gateway.chat(raw, caller, new_request_id())
        return reply.body or {}

    async def stream(
        self, body: Mapping[str, Any], api_key: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the answer's chunks; use `handle.options(stream=True)`.

        Raises:
            CompassError
        """
        gateway = self._replica.gateway
        caller = gateway.authenticate(api_key)
        raw = orjson.dumps({**body, "stream": True})
        reply = await gateway.chat(raw, caller, new_request_id())
        try:
            async for chunk in reply.chunks():
                yield dict(chunk)
        finally:
            await reply.close()
