"""The simulator as an aiohttp application: clock, connections and what is remembered."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from hashlib import sha256

import orjson
from aiohttp import web

from compass_ray.simulator import (
    anthropic,
    azure,
    embeddings,
    google,
    huggingface,
    openai,
    replicate,
)
from compass_ray.simulator.compose import compose, identify
from compass_ray.simulator.counting import COUNTS, Count
from compass_ray.simulator.delivery import JSON, Delivery
from compass_ray.simulator.exchange import Refused, Trouble
from compass_ray.simulator.log import Entry, Log
from compass_ray.simulator.predictions import Predictions
from compass_ray.simulator.read_script import BadScript, read
from compass_ray.simulator.script import Facts, Script, choose, unseen
from compass_ray.simulator.wire import Wire

MAX_BODY_BYTES = 64 * 1024 * 1024

_ASKS: tuple[tuple[Wire, str], ...] = (
    (openai, "/openai/v1/chat/completions"),
    (azure, "/azure/openai/v1/chat/completions"),
    (azure, "/azure/openai/deployments/{deployment}/chat/completions"),
    (huggingface, "/huggingface/v1/chat/completions"),
    (replicate, "/replicate/v1/models/{owner}/{name}/predictions"),
    (replicate, "/replicate/v1/predictions"),
    (anthropic, "/anthropic/v1/messages"),
    (
        google,
        "/google/{version:v1|v1beta}/models/{model}:{action:generateContent|streamGenerateContent}",
    ),
)
_MODELS: tuple[tuple[Wire, str], ...] = (
    (openai, "/openai/v1/models"),
    (azure, "/azure/openai/v1/models"),
    (azure, "/azure/openai/models"),
    (huggingface, "/huggingface/v1/models"),
    (replicate, "/replicate/v1/collections/language-models"),
    (anthropic, "/anthropic/v1/models"),
    (google, "/google/{version:v1|v1beta}/models"),
)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Simulator:
    """All providers behind one port, and the operator's hand on them."""

    def __init__(self, seed: int, script: Script = ()) -> None:
        """Draw from `seed`; follow `script` at first and after each reset."""
        self._seed = seed
        self._first_script = script
        self._predictions = Predictions()
        self._under_way = 0
        self._forget()

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        for wire, path in (*_ASKS, *embeddings.ASKS):
            app.router.add_post(path, self._answering(wire))
        for wire, path, count in COUNTS:
            app.router.add_post(path, _counting(wire, count))
        for wire, path in _MODELS:
            app.router.add_get(path, _listing(wire))
        self._predictions.route(app)
        for wire in dict.fromkeys(wire for wire, _ in _MODELS):
            app.router.add_route("*", f"/{wire.NAME}/{{rest:.*}}", _missing(wire))
        app.router.add_get("/_simulator/health", _health)
        app.router.add_get("/_simulator/log", self._read_log)
        app.router.add_post("/_simulator/script", self._set_script)
        app.router.add_post("/_simulator/reset", self._reset)
        return app

    def _forget(self) -> None:
        self._log = Log()
        self._number = 0
        self._follow(self._first_script)

    def _follow(self, script: Script) -> None:
        self._script = script
        self._seen = unseen(script)

    def _answering(self, wire: Wire) -> _Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            self._number += 1
            entry = Entry(self._number, wire.NAME, time.time())
            log = self._log  # a reset meanwhile begins another one
            try:
                return await self._answer(request, wire, entry)
            except (asyncio.CancelledError, ConnectionError):
                entry.aborted = True
                raise
            finally:
                entry.ended_at = time.time()
                log.add(entry)

        return answer

    async def _answer(self, request: web.Request, wire: Wire, entry: Entry) -> web.StreamResponse:
        # Not cryptography: the same seed and sequence must give the same answers.
        rng = random.Random(f"{self._seed}:{entry.number}")  # noqa: S311
        u = rng.random()
        deliver = self._predictions.creation if wire is replicate else Delivery
        delivery = deliver(request, wire, entry, identify(rng))
        try:
            _authenticate(wire, request)
            ask = wire.read(await request.read(), {**request.query, **request.match_info})
        except Refused as exc:
            return await delivery.refuse(exc.trouble)
        except web.HTTPRequestEntityTooLarge:
            return await delivery.refuse(Trouble(413, None, "request too large"))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as exc:
            # Any JSON may come: a shape that no check foresaw is the caller's mistake, too.
            return await delivery.refuse(Trouble(400, None, f"malformed request: {exc}"))
        entry.model, entry.stream, entry.input_tokens = ask.model, ask.stream, ask.input_tokens
        entry.asked = sha256(ask.text.encode(errors="surrogatepass")).hexdigest()
        facts = Facts(wire.NAME, ask.model, ask.text, ask.after_tool, self._under_way)
        behaviour, self._seen = choose(self._script, self._seen, facts, u)
        entry.fault = behaviour.fault.name if behaviour.fault else None
        reply = compose(ask, behaviour, entry.number, rng)
        self._under_way += 1
        try:
            return await delivery.answer(ask, reply, behaviour)
        finally:
            self._under_way -= 1

    async def _read_log(self, _request: web.Request) -> web.Response:
        entries = [asdict(entry) for entry in self._log.entries()]
        return web.Response(body=orjson.dumps(entries), content_type=JSON)

    async def _set_script(self, request: web.Request) -> web.Response:
        try:
            self._follow(read(orjson.loads(await request.read())))
        except (BadScript, orjson.JSONDecodeError) as exc:
            return web.json_response({"error": str(exc)}, status=400)
        return web.json_response({"rules": len(self._script)})

    async def _reset(self, _request: web.Request) -> web.Response:
        self._forget()
        return web.json_response({})


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _authenticate(wire: Wire, request: web.Request) -> None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    wire.authenticate(headers, request.query)


def _listing(wire: Wire) -> _Handler:
    async def models(request: web.Request) -> web.StreamResponse:
        try:
            _authenticate(wire, request)
        except Refused as exc:
            return _plain(wire, exc.trouble.status, wire.error(exc.trouble, "0"))
        return _plain(wire, 200, wire.models())

    return models


def _counting(wire: Wire, count: Count) -> _Handler:
    async def counted(request: web.Request) -> web.StreamResponse:
        try:
            _authenticate(wire, request)
            document = count(await request.read(), {**request.query, **request.match_info})
        except Refused as exc:
            return _plain(wire, exc.trouble.status, wire.error(exc.trouble, "0"))
        return _plain(wire, 200, document)

    return counted


def _missing(wire: Wire) -> _Handler:
    async def missing(request: web.Request) -> web.StreamResponse:
        message = f"unknown request URL: {request.method} {request.path}"
        return _plain(wire, 404, wire.error(Trouble(404, None, message), "0"))

    return missing


def _plain(wire: Wire, status: int, document: bytes) -> web.Response:
    headers = {"content-type": JSON, **wire.headers(None, "0")}
    return web.Response(status=status, body=document, headers=headers)
