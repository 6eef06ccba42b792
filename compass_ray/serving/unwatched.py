"""What asks Ray Serve to leave the gateway's callers to the gateway (see `serving.presence`)."""

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

GATEWAY = "Gateway"
"""The deployment whose replicas watch their callers themselves."""

_UNWATCHED = (b"x-request-disconnect-disabled", b"?1")
"""Serve's own header, for a client that asks not to be watched."""


class Unwatched:
    """ASGI middleware that asks Serve not to watch the caller of a plain HTTP request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            scope["headers"].append(_UNWATCHED)
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what Serve is to put in front of this process's requests.

    Serve calls it where RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it. A proxy, and a replica
    of another deployment, keep Serve's own watch.
    """
    try:
        deployment = serve.get_replica_context().deployment
    except RayServeException:
        return []
    return [Middleware(Unwatched)] if deployment == GATEWAY else []
