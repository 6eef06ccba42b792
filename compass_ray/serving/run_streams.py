"""The events of a run on their way to its caller: as server-sent events, or over a WebSocket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

import orjson
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from compass_ray.serving.reading import Reading
from compass_ray.types.errors import WorkflowsUnavailable
from compass_ray.types.workflows import KINDS, Event

_OVER, _TRY_AGAIN = 1000, 1013
"""Close codes of RFC 6455 and its registry."""
_DENIED = 4_000
"""With the status of HTTP: the close code where a server can tell no more than one."""


class Told(NamedTuple):
    """An event and its place in the history of its run."""

    number: int
    event: Event


Events = AsyncGenerator[Told | None]
"""The events of a run until its end; None now and then, where there is no news.

Raises:
    WorkflowsUnavailable: ask again, from after the last one.
"""


async def as_sse(events: Events) -> AsyncIterator[bytes]:
    """Yield server-sent events; they break off where the runs' owner is silent."""
    try:
        async for told in events:
            if told is None:
                yield b": nothing new\n\n"
            else:
                kind = KINDS[type(told.event)].encode()
                data = orjson.dumps(told.event._asdict())
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (told.number, kind, data)
    except WorkflowsUnavailable:
        return  # the client comes back with its last id


async def over_websocket(socket: WebSocket, events: Events, patience: float) -> None:
    """Send each event as a frame of JSON, and close; what the client says is not listened to.

    A client has so many seconds to read a frame, and until then no further event is asked for.
    """
    await socket.accept()
    telling = asyncio.create_task(_tell(socket, events, patience))
    leaving = asyncio.create_task(_left(socket))
    try:
        await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        telling.cancel()
        leaving.cancel()
        await asyncio.gather(telling, leaving, return_exceptions=True)
    if not telling.cancelled():
        telling.result()  # a mistake of ours is not kept quiet


async def deny(socket: WebSocket, response: Response) -> None:
    """Answer a request for a WebSocket by HTTP, where the server can."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(response)
    else:
        await socket.close(_DENIED + response.status_code)


async def _tell(socket: WebSocket, events: Events, patience: float) -> None:
    code = _OVER
    try:
        async with aclosing(events), Reading(patience) as reading:
            async for told in events:
                if told is None:
                    continue  # the server's pings say that the connection lives
                reading.sending = True
                await socket.send_text(_frame(told))
                reading.sending = False
                reading.sent += 1
    except WorkflowsUnavailable:
        code = _TRY_AGAIN
    except TimeoutError:
        return  # who does not read is not told; the server closes the connection
    except WebSocketDisconnect:
        return
    await socket.close(code)


async def _left(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _frame(told: Told) -> str:
    event = {
        "id": told.number,
        "event": KINDS[type(told.event)],
        "data": told.event._asdict(),
    }
    return orjson.dumps(event).decode()
