"""Carries one behaviour out: waits, writes, stalls, hangs up."""

import asyncio
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate

from aiohttp import web

from compass_ray.simulator import faults
from compass_ray.simulator.exchange import Ask, Frame, Reply, Trouble
from compass_ray.simulator.faults import HangUp, Pause, Step
from compass_ray.simulator.log import Entry
from compass_ray.simulator.script import Behaviour, Failure, RetryAfter
from compass_ray.simulator.wire import Wire

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
_OK = 200
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for no time: the peer gets a RST


class Delivery:
    """Delivers to one client and notes in its log entry what was produced."""

    def __init__(self, request: web.Request, wire: Wire, entry: Entry, request_id: str) -> None:
        """Deliver over the request's connection."""
        self._request = request
        self._wire = wire
        self._entry = entry
        self._id = request_id

    async def refuse(
        self, trouble: Trouble, extra: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """Send an error in the provider's shape."""
        document = self._wire.error(trouble, self._id)
        return await self._send(document, trouble.status, JSON, extra)

    async def answer(self, ask: Ask, reply: Reply, behaviour: Behaviour) -> web.StreamResponse:
        """Send what the behaviour says."""
        await asyncio.sleep(behaviour.ttft_s)
        fault = behaviour.fault.name if behaviour.fault else None
        if fault == "reset":
            return self._reset()
        if fault == "blackhole":
            await asyncio.Event().wait()
        if fault in ("html", "empty", "not_json", "error_in_200"):
            return await self._nonsense(fault, ask, behaviour.error)
        if behaviour.error is not None:
            return await self.refuse(_trouble(behaviour.error), _retry_after(behaviour.error))
        return await self._reply(ask, reply, behaviour)

    async def _reply(self, ask: Ask, reply: Reply, behaviour: Behaviour) -> web.StreamResponse:
        """Send an answer that begins well."""
        fault = behaviour.fault
        if ask.stream:
            frames = self._wire.frames(ask, reply)
            return await self._play(faults.steps(frames, fault), ask, behaviour)
        document = self._wire.whole(ask, reply)
        produced = sum(len(choice.tokens) for choice in reply.choices)
        frames = faults.in_one_piece(document, produced, fault)
        length = None if fault is not None and fault.name == "huge_line" else len(document)
        return await self._play(faults.steps(frames, fault), ask, behaviour, length)

    async def _nonsense(self, fault: str, ask: Ask, failure: Failure | None) -> web.StreamResponse:
        """Send what is no answer, with an error's status if the script tells one."""
        status = _OK if failure is None or fault == "error_in_200" else failure.status
        mime = EVENTS if ask.stream and status == _OK else JSON
        document = b""
        if fault == "html":
            document, mime = faults.HTML, "text/html"
        elif fault == "not_json":
            document = faults.not_json(stream=mime == EVENTS)
        elif fault == "error_in_200":
            document = self._wire.error(_trouble(failure or Failure(500)), self._id)
            document = self._wire.error_event(document) if ask.stream else document
        return await self._send(document, status, mime, _retry_after(failure))

    async def _send(
        self, document: bytes, status: int, mime: str, extra: Mapping[str, str] | None
    ) -> web.StreamResponse:
        response = self._response(status, mime, None, extra)
        response.content_length = len(document)
        self._entry.status = status
        await response.prepare(self._request)
        await response.write(document)
        await response.write_eof()
        return response

    async def _play(
        self,
        steps: Iterable[Step],
        ask: Ask,
        behaviour: Behaviour,
        length: int | None = None,
    ) -> web.StreamResponse:
        """Write the frames, each token `tpot_s` after the one before it."""
        mime = EVENTS if ask.stream else JSON
        response = self._response(_OK, mime, ask, dict(behaviour.headers))
        response.content_length = length
        tpot = behaviour.tpot_s
        loop = asyncio.get_running_loop()
        due = loop.time() - tpot
        for step in steps:
            match step:
                case Frame(data, tokens):
                    due += tpot * tokens
                    await _until(due)
                    self._entry.output_tokens += tokens
                    if data:
                        await self._write(response, data)
                case Pause(seconds):
                    due = max(due, loop.time()) + seconds
                    await _until(due)
                case HangUp():
                    return await self._hang_up(response)
        await self._write(response, b"")
        await response.write_eof()
        return response

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        if not response.prepared:
            self._entry.status = response.status
            await response.prepare(self._request)
        await response.write(data)

    async def _hang_up(self, response: web.StreamResponse) -> web.StreamResponse:
        """Close after what was written, without the answer's end."""
        await self._write(response, b"")
        if (transport := self._request.transport) is not None:
            transport.close()
        return response

    def _reset(self) -> web.StreamResponse:
        """Close at once, so that the client sees a reset."""
        if (transport := self._request.transport) is not None:
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        return web.Response()

    def _response(
        self, status: int, mime: str, ask: Ask | None, extra: Mapping[str, str] | None
    ) -> web.StreamResponse:
        headers = {"content-type": mime, **self._wire.headers(ask, self._id), **(extra or {})}
        return web.StreamResponse(status=status, headers=headers)


def _trouble(failure: Failure) -> Trouble:
    told = failure.retry_after
    delay = told.value if told is not None and told.form == "retry_info" else None
    message = failure.message or f"simulated: {failure.kind or failure.status}"
    return Trouble(failure.status, failure.kind, message, retry_info=delay)


def _retry_after(failure: Failure | None) -> dict[str, str]:
    match failure.retry_after if failure is not None else None:
        case RetryAfter("header", value):
            return {"retry-after": value}
        case RetryAfter("ms", value):
            return {"retry-after-ms": value}
        case RetryAfter("date", value):
            return {"retry-after": formatdate(time.time() + float(value), usegmt=True)}
    return {}


async def _until(due: float) -> None:
    """Wait for a moment of the loop's clock; a past one does not even yield."""
    delay = due - asyncio.get_running_loop().time()
    if delay > 0:
        await asyncio.sleep(delay)
