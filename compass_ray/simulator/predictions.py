"""The life of Replicate's predictions: created at once, asked for, streamed, cancelled."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import orjson
from aiohttp import web

from compass_ray.simulator import replicate
from compass_ray.simulator.delivery import JSON, Delivery
from compass_ray.simulator.exchange import Ask, Refused, Reply, Trouble
from compass_ray.simulator.log import Entry
from compass_ray.simulator.script import CALM, Behaviour
from compass_ray.simulator.wire import Wire

_KEPT = 10_000
_BASE = "/replicate/v1"
_LONGEST_WAIT = 60
_LATER = frozenset(
    {"cut_after_chunks", "cut_after_bytes", "stall_after_chunks", "huge_line"}
    | {"no_usage", "absurd_usage", "no_done", "no_finish_reason"}
)
"""Faults of what a prediction brings; all others meet its creation."""


@dataclass(slots=True)
class _Prediction:
    """What was asked for; `begun` is on the loop's clock, `ended` when its stream was told."""

    ask: Ask
    reply: Reply
    behaviour: Behaviour
    entry: Entry
    begun: float
    canceled: bool = False
    ended: bool = False

    def remaining(self, now: float) -> float:
        """Return the seconds until it is complete."""
        told = self.behaviour
        return self.begun + told.ttft_s + len(self._tokens) * told.tpot_s - now

    def made(self, now: float) -> int:
        """Return how many tokens there are by now."""
        if self.remaining(now) <= 0:
            return len(self._tokens)
        seconds = max(0.0, now - self.begun - self.behaviour.ttft_s)
        return int(seconds / self.behaviour.tpot_s) if self.behaviour.tpot_s else 0

    def status(self, now: float) -> str:
        """Return Replicate's word for how far it is."""
        if self.canceled:
            return "canceled"
        complete = self.ended if self.ask.stream else self.remaining(now) <= 0
        return "succeeded" if complete else "processing"

    @property
    def _tokens(self) -> tuple[str, ...]:
        return self.reply.choices[0].tokens


_Handle = Callable[[web.Request, _Prediction], Awaitable[web.StreamResponse]]


class Predictions:
    """All predictions that somebody may still ask for, the oldest dropped first."""

    def __init__(self) -> None:
        self._all: dict[str, _Prediction] = {}

    def route(self, app: web.Application) -> None:
        """Add the routes beside those of the creation."""
        one = f"{_BASE}/predictions/{{id}}"
        app.router.add_get(one, self._of_one(_get))
        app.router.add_get(f"{one}/stream", self._of_one(_stream))
        app.router.add_post(f"{one}/cancel", self._of_one(_cancel))
        app.router.add_get(f"{_BASE}/account", _account)

    def creation(self, request: web.Request, wire: Wire, entry: Entry, request_id: str) -> Delivery:
        """Return the delivery of what a creation is answered with."""
        return _Creation(request, wire, entry, request_id, self._keep)

    def _keep(self, prediction: _Prediction) -> None:
        self._all[prediction.reply.id] = prediction
        if len(self._all) > _KEPT:
            self._all.pop(next(iter(self._all)))

    def _of_one(self, handle: _Handle) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            if (trouble := _refusal(request)) is not None:
                return _problem(trouble)
            one = self._all.get(request.match_info["id"])
            if one is None:
                return _problem(Trouble(404, None, "The requested resource could not be found."))
            return await handle(request, one)

        return handler


class _Creation(Delivery):
    """Answers with the whole prediction if it is complete in time, else with its name."""

    def __init__(
        self,
        request: web.Request,
        wire: Wire,
        entry: Entry,
        request_id: str,
        keep: Callable[[_Prediction], None],
    ) -> None:
        super().__init__(request, wire, entry, request_id)
        self._created = (request, entry)
        self._keep = keep

    async def answer(self, ask: Ask, reply: Reply, behaviour: Behaviour) -> web.StreamResponse:
        """Send what the behaviour says, or under which name to ask for it."""
        request, entry = self._created
        fault = behaviour.fault.name if behaviour.fault is not None else None
        if behaviour.error is not None or (fault is not None and fault not in _LATER):
            return await super().answer(replace(ask, stream=False), reply, behaviour)
        now = asyncio.get_running_loop().time()
        one = _Prediction(ask, reply, behaviour, entry, now)
        wait = 0 if ask.stream else _wait(request)
        if not ask.stream and one.remaining(now) <= wait:
            return await super().answer(ask, reply, behaviour)
        self._keep(one)
        await asyncio.sleep(wait)
        entry.status = 201
        return _told(request, one, 201)


async def _get(request: web.Request, one: _Prediction) -> web.StreamResponse:
    now = asyncio.get_running_loop().time()
    if one.status(now) != "succeeded":
        return _told(request, one)
    if one.ask.stream:
        behaviour = CALM
    else:
        behaviour = replace(one.behaviour, ttft_s=0, tpot_s=0)
        one.entry.output_tokens = one.made(now)
    delivery = Delivery(request, replicate, Entry(0, replicate.NAME, 0), one.reply.id)
    return await delivery.answer(replace(one.ask, stream=False), one.reply, behaviour)


async def _stream(request: web.Request, one: _Prediction) -> web.StreamResponse:
    delivery = Delivery(request, replicate, one.entry, one.reply.id)
    try:
        told = await delivery.answer(one.ask, one.reply, one.behaviour)
    except (asyncio.CancelledError, ConnectionError):
        one.entry.aborted = True
        raise
    one.ended = True
    return told


async def _cancel(request: web.Request, one: _Prediction) -> web.StreamResponse:
    now = asyncio.get_running_loop().time()
    if one.status(now) == "processing":
        one.canceled = one.entry.aborted = True
        if not one.ask.stream:
            one.entry.output_tokens = one.made(now)
    return _told(request, one)


async def _account(request: web.Request) -> web.StreamResponse:
    trouble = _refusal(request)
    if trouble is not None:
        return _problem(trouble)
    return web.Response(body=replicate.account(), content_type=JSON)


def _refusal(request: web.Request) -> Trouble | None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        replicate.authenticate(headers, request.query)
    except Refused as exc:
        return exc.trouble
    return None


def _problem(trouble: Trouble) -> web.Response:
    body = replicate.error(trouble, "0")
    return web.Response(status=trouble.status, body=body, content_type=JSON)


def _told(request: web.Request, one: _Prediction, status: int = 200) -> web.Response:
    """Answer with the prediction as it is now."""
    place = f"{request.scheme}://{request.host}{_BASE}/predictions/{one.reply.id}"
    urls = {"get": place, "cancel": f"{place}/cancel"}
    if one.ask.stream:
        urls["stream"] = f"{place}/stream"
    word = one.status(asyncio.get_running_loop().time())
    document = replicate.prediction(one.ask, one.reply, word, urls)
    return web.Response(status=status, body=orjson.dumps(document), content_type=JSON)


def _wait(request: web.Request) -> int:
    """Return for how many seconds the creation is held."""
    preference, _, seconds = request.headers.get("prefer", "").partition("=")
    if preference.strip() != "wait":
        return 0
    return min(_LONGEST_WAIT, int(seconds)) if seconds.strip().isdigit() else _LONGEST_WAIT
