"""What stands before Ray Serve in a replica: whose request it is, and who looks after its caller.

Serve gives every request an id of its own, which its logs and the header `x-request-id` tell; here
it is told ours, so that there is one. And it leaves the callers to the gateway (see
`serving.presence`).
"""

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from compass_ray.serving.http import GIVEN_ID, header, new_request_id

GATEWAY = "Gateway"
"""The deployment whose replicas watch their callers themselves."""

_REQUEST_ID = b"x-request-id"
_UNWATCHED = (b"x-request-disconnect-disabled", b"?1")
"""Serve's own header, for a client that asks not to be watched."""


class Unwatched:
    """ASGI middleware that names a plain HTTP request, and asks Serve not to watch its caller."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an `x-request-id` of the caller's own stays, and is echoed."""
        if scope["type"] == "http":
            scope[GIVEN_ID] = request_id = new_request_id()
            if header(scope, _REQUEST_ID) is None:
                scope["headers"].append((_REQUEST_ID, request_id.encode()))
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
