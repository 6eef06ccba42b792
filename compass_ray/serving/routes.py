"""A route of the API, and how it answers: in JSON, and other methods in the shape of all errors."""

from collections.abc import Sequence

import orjson
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from compass_ray.doors.base import Door
from compass_ray.doors.chat import ChatDoor
from compass_ray.serving.doorway import send_error
from compass_ray.serving.http import request_id_of
from compass_ray.types.errors import MethodNotAllowed

_CHAT = ChatDoor()


class ApiRoute(Route):
    """A route that refuses other methods in the shape of all errors."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if self.methods and scope["method"] not in self.methods:
            await refuse_method(scope, send, sorted(self.methods))
        else:
            await super().handle(scope, receive, send)


async def refuse_method(
    scope: Scope, send: Send, allowed: Sequence[str], door: Door = _CHAT
) -> None:
    """Say which methods the route has."""
    error = MethodNotAllowed(f"{scope['path']} does not take {scope['method']}", allowed=allowed)
    await send_error(send, error, request_id_of(scope), door)


def json_response(body: object, status: int = 200) -> Response:
    """Return JSON."""
    return Response(orjson.dumps(body), status, media_type="application/json")
