"""An answer of several exchanges, against a Replicate that fails between any two of them."""

import asyncio

import pytest
from aiohttp import web

from compass_ray.providers.base import StreamState, Target
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import wire
from compass_ray.types.errors import (
    BadAnswer,
    BrokenStream,
    ProviderFault,
    ProviderTimeout,
    RateLimited,
)
from compass_ray.types.settings import TimeoutSettings
from compass_ray.types.usage import Usage

pytestmark = pytest.mark.server

QUICK = TimeoutSettings(connect=1.0, first_byte=0.9, idle=0.5, total=5.0)
COUNTED = {"input_token_count": 3, "output_token_count": 2}
STREAM = b"event: output\ndata: Hi\n\nevent: output\ndata:  you\n\nevent: done\ndata: {}\n\n"


class Replicate:
    """Says of the prediction what it is told to, one document after another; notes the calls."""

    def __init__(self):
        self.documents = []
        self.events = STREAM
        self.streams = True
        self.cancel_status = 200
        self.calls = []
        self.url = ""

    async def answer(self, request):
        self.calls.append(f"{request.method} {request.path.rpartition('/')[2]}")
        if request.path.endswith("/cancel"):
            return web.json_response({}, status=self.cancel_status)
        if request.path.endswith("/stream"):
            return web.Response(body=self.events, content_type="text/event-stream")
        told = self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]
        if isinstance(told, int):
            return web.json_response({"detail": "no"}, status=told)
        urls = {"stream": f"{self.url}/v1/predictions/p1/stream"} if self.streams else {}
        return web.json_response({"id": "p1", "urls": urls, **told}, status=201)


@pytest.fixture
async def replicate():
    replicate = Replicate()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", replicate.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    replicate.url = "http://{}:{}".format(*runner.addresses[0])
    yield replicate
    await runner.cleanup()


@pytest.fixture
def ask(replicate, chat, endpoint):
    """Return a function that asks once and closes the client, which waits for what it stops."""

    async def ask(*, stream=False):
        target = Target(replicate.url, "r8_x")
        client = ProviderClient(wire("replicate"), QUICK, 4, target)
        state = StreamState("chatcmpl-1", 1, "m")
        until = asyncio.get_running_loop().time() + 5
        request, to = chat(stream=stream), endpoint("replicate")
        try:
            if stream:
                return [chunk async for chunk in client.stream(request, to, state, until)]
            return await client.complete(request, to, state, until)
        finally:
            await client.close()

    return ask


def ended(**more):
    return {"status": "succeeded", "output": ["Hi", " you"], "metrics": COUNTED, **more}


def content(chunks):
    bodies = [chunk.body for chunk in chunks if chunk.body is not None]
    return [c["delta"]["content"] for b in bodies for c in b["choices"] if "content" in c["delta"]]


async def test_what_is_complete_at_once_takes_one_exchange(replicate, ask):
    replicate.documents = [ended()]

    answer = await ask()

    assert answer.usage == Usage(3, 2)
    assert replicate.calls == ["POST predictions"]


async def test_what_takes_longer_is_asked_for_and_not_stopped(replicate, ask):
    replicate.documents = [{"status": "starting"}, ended()]

    answer = await ask()

    assert answer.body["choices"][0]["message"]["content"] == "Hi you"
    assert replicate.calls == ["POST predictions", "GET p1"]


async def test_a_stream_is_followed_by_its_usage(replicate, ask):
    replicate.documents = [{"status": "starting"}, ended()]

    chunks = await ask(stream=True)

    assert content(chunks) == ["Hi", " you"]
    assert chunks[-1].usage == Usage(3, 2)
    assert replicate.calls == ["POST predictions", "GET stream", "GET p1"]


async def test_a_sum_that_comes_late_is_waited_for(replicate, ask):
    replicate.documents = [{"status": "starting"}, {"status": "processing"}, ended()]

    chunks = await ask(stream=True)

    assert chunks[-1].usage == Usage(3, 2)
    assert replicate.calls.count("GET p1") == 2


@pytest.mark.parametrize("failure", [500, 404, {"status": "who knows"}, {"id": "../x"}])
async def test_a_sum_that_cannot_be_had_leaves_the_answer_whole(replicate, ask, failure):
    replicate.documents = [{"status": "starting"}, failure]

    chunks = await ask(stream=True)

    assert content(chunks) == ["Hi", " you"]
    assert {chunk.finish_reason for chunk in chunks} == {None, "stop"}
    assert chunks[-1].usage is None


async def test_a_model_that_does_not_stream_answers_in_one_piece(replicate, ask):
    replicate.streams = False
    replicate.documents = [{"status": "starting"}, ended()]

    chunks = await ask(stream=True)

    assert content(chunks) == ["Hi you"]
    assert chunks[-1].usage == Usage(3, 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_creation_is_an_error_with_nothing_to_stop(replicate, ask, stream):
    replicate.documents = [429]

    with pytest.raises(RateLimited):
        await ask(stream=stream)
    assert replicate.calls == ["POST predictions"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prediction_that_fails_is_an_error_with_nothing_to_stop(replicate, ask, stream):
    replicate.documents = [{"status": "failed", "error": "CUDA out of memory"}]

    with pytest.raises(ProviderFault, match="CUDA"):
        await ask(stream=stream)
    assert replicate.calls == ["POST predictions"]


async def test_an_error_on_the_way_stops_the_work(replicate, ask):
    replicate.documents = [{"status": "starting"}, 500]

    with pytest.raises(ProviderFault):
        await ask()
    assert replicate.calls[-1] == "POST cancel"


@pytest.mark.parametrize("cancel_status", [200, 500])
async def test_an_answer_that_does_not_come_is_given_up_and_stopped(replicate, ask, cancel_status):
    replicate.documents = [{"status": "processing"}]
    replicate.cancel_status = cancel_status

    with pytest.raises(ProviderTimeout) as timeout:
        await ask()
    assert timeout.value.phase == "first byte"
    assert replicate.calls[-1] == "POST cancel"


@pytest.mark.parametrize(
    ("events", "cls"),
    [
        (b"event: output\ndata: Hi\n\n", BrokenStream),
        (b"event: error\ndata: out of memory\n\n", ProviderFault),
        (b'event: done\ndata: {"reason": "canceled"}\n\n', BrokenStream),
        (b"event: surprise\ndata: 1\n\n", BadAnswer),
    ],
)
async def test_a_stream_that_goes_wrong_stops_the_work(replicate, ask, events, cls):
    replicate.documents = [{"status": "processing"}]
    replicate.events = events

    with pytest.raises(cls):
        await ask(stream=True)
    assert replicate.calls[-1] == "POST cancel"
