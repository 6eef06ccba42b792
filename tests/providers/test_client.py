"""The client over every provider's real wire, spoken by the simulator: one suite for all."""

import asyncio
import gc
import json
import tracemalloc

import pytest

from compass_ray.providers.base import StreamState, Target
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import KINDS, wire
from compass_ray.simulator import SimulatorProcess
from compass_ray.types import errors
from compass_ray.types.settings import TimeoutSettings

pytestmark = pytest.mark.server

PATHS = {"openai": "/openai/v1", "huggingface": "/huggingface/v1", "local": "/openai/v1"}
TIMEOUTS = TimeoutSettings(connect=2.0, first_byte=5.0, idle=2.0, total=10.0)
MEGABYTE = 1024 * 1024

each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def process():
    with SimulatorProcess(seed=1) as process:
        yield process


@pytest.fixture
def simulator(process):
    process.reset()
    return process


@pytest.fixture
async def connect(simulator):
    """Return a function from a kind of provider to a client of it."""
    clients = []

    def connected(kind, timeouts=TIMEOUTS):
        target = Target(simulator.url + PATHS.get(kind, f"/{kind}"), "simulated")
        clients.append(ProviderClient(wire(kind), timeouts, 8, target))
        return clients[-1]

    yield connected
    for client in clients:
        await client.close()


@pytest.fixture
def ask(chat, endpoint, connect):
    """Return functions that have a provider answer in one piece and in many."""

    class Asked:
        def __init__(self, kind, timeouts=TIMEOUTS, **fields):
            self.client, self.fields = connect(kind, timeouts), fields
            self.to = endpoint(kind, "owner/sim-1" if kind == "replicate" else "sim-1")

        def request(self, **fields):
            return chat(**fields, **self.fields)

        async def whole(self):
            request = self.request()
            return await self.client.complete(request, self.to, new_state(), soon())

        def stream(self):
            request = self.request(stream=True)
            return self.client.stream(request, self.to, new_state(), soon())

        async def chunks(self):
            return [chunk async for chunk in self.stream()]

    return Asked


def new_state():
    return StreamState("chatcmpl-req1", 1_763_900_000, "the-model")


def soon():
    return asyncio.get_running_loop().time() + 10


def text_of(chunks):
    bodies = [chunk.body for chunk in chunks if chunk.body is not None]
    deltas = [choice["delta"] for body in bodies for choice in body["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def ended(simulator, condition):
    """Return the last log entry once `condition` holds for it."""
    for _ in range(300):
        log = await asyncio.to_thread(simulator.log)
        if log and condition(log[-1]):
            return log[-1]
        await asyncio.sleep(0.02)
    raise AssertionError(f"not in time: {log}")


@each_kind
async def test_an_answer_is_whole_and_its_usage_is_what_the_provider_counted(kind, ask, simulator):
    simulator.script([{"then": {"text": "Grüße\n\naus der Ferne"}}])

    answer = await ask(kind).whole()

    (entry,) = simulator.log()
    assert answer.body["choices"][0]["message"]["content"] == "Grüße\n\naus der Ferne"
    assert answer.finish_reason == "stop"
    assert answer.usage.output_tokens == entry["output_tokens"]
    assert answer.usage.input_tokens == entry["input_tokens"]


@each_kind
async def test_a_stream_says_the_same_and_ends_with_its_usage(kind, ask, simulator):
    simulator.script([{"then": {"text": "Grüße\n\naus der Ferne"}}])

    chunks = await ask(kind).chunks()

    (entry,) = simulator.log()
    assert text_of(chunks) == "Grüße\n\naus der Ferne"
    usage = [chunk.usage for chunk in chunks if chunk.usage is not None][-1]
    assert (usage.input_tokens, usage.output_tokens) == (
        entry["input_tokens"],
        entry["output_tokens"],
    )
    assert {chunk.finish_reason for chunk in chunks} == {None, "stop"}
    assert chunks[-1].done or kind == "google"


@each_kind
async def test_an_answer_at_its_limit_says_so(kind, ask):
    asked = ask(kind, max_tokens=3)

    assert (await asked.whole()).finish_reason == "length"
    assert "length" in {chunk.finish_reason for chunk in await asked.chunks()}


@each_kind
@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (401, errors.ProviderAuthFailed),
        (402, errors.QuotaExhausted),
        (429, errors.RateLimited),
        (500, errors.ProviderFault),
        (503, errors.Overloaded),
    ],
)
async def test_an_error_has_its_blame_and_the_time_to_try_again(kind, status, cls, ask, simulator):
    simulator.script([{"then": {"error": {"status": status, "retry_after": 3}}}])
    asked = ask(kind)

    with pytest.raises(cls) as whole:
        await asked.whole()
    with pytest.raises(cls) as streamed:
        await asked.chunks()
    assert whole.value.retry_after == streamed.value.retry_after == 3


@each_kind
@pytest.mark.parametrize("fault", ["html", "empty", "not_json", "error_in_200"])
async def test_a_200_that_is_no_answer_is_the_providers_failure(kind, fault, ask, simulator):
    simulator.script([{"then": {"fault": fault}}])
    asked = ask(kind)

    with pytest.raises(errors.ProviderError):
        await asked.whole()
    with pytest.raises(errors.ProviderError):
        await asked.chunks()


@each_kind
async def test_a_stream_that_is_cut_is_broken(kind, ask, simulator):
    simulator.script([{"then": {"fault": {"cut_after_chunks": 4}}}])

    with pytest.raises(errors.BrokenStream):
        await ask(kind).chunks()


@each_kind
async def test_an_endless_line_of_a_stream_is_refused_in_bounded_memory(kind, ask, simulator):
    simulator.script([{"then": {"fault": {"huge_line": 64 * MEGABYTE}}}])
    asked = ask(kind)
    gc.collect()
    tracemalloc.start()

    try:
        with pytest.raises(errors.BadAnswer):
            await asked.chunks()
        assert tracemalloc.get_traced_memory()[1] < 24 * MEGABYTE
    finally:
        tracemalloc.stop()


@each_kind
async def test_a_missing_or_absurd_usage_is_none(kind, ask, simulator):
    asked = ask(kind)
    for fault in ("no_usage", "absurd_usage"):
        simulator.script([{"then": {"fault": fault}}])

        answer, chunks = await asked.whole(), await asked.chunks()

        assert answer.usage is None
        assert [chunk.usage for chunk in chunks if chunk.done] in ([None], [])
        assert text_of(chunks)


@each_kind
async def test_a_caller_who_leaves_a_stream_stops_the_provider(kind, ask, simulator):
    simulator.script([{"then": {"tpot_s": 0.02, "tokens": 1000}}])
    stream = ask(kind).stream()
    await anext(stream)

    await stream.aclose()

    entry = await ended(simulator, lambda entry: entry["aborted"])
    assert entry["output_tokens"] < 500


@each_kind
async def test_a_caller_who_leaves_before_the_answer_stops_the_provider(kind, ask, simulator):
    simulator.script([{"then": {"ttft_s": 30}}])
    asked = ask(kind)
    asking = asyncio.create_task(asked.whole())
    for _ in range(30):  # round trips, after which the request has long arrived
        await asyncio.to_thread(simulator.log)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    entry = await ended(simulator, lambda entry: entry["aborted"])
    assert entry["output_tokens"] == 0


@each_kind
async def test_a_silent_provider_is_given_up_in_time(kind, ask, simulator):
    simulator.script([{"then": {"fault": "blackhole"}}])
    quick = TimeoutSettings(connect=1.0, first_byte=0.2, idle=0.2, total=2.0)

    with pytest.raises(errors.ProviderTimeout) as timeout:
        await ask(kind, quick).whole()
    assert timeout.value.phase in ("first byte", "total")


BOTH = [{"name": "weather", "arguments": {"city": city}} for city in ("Rome", "Oslo")]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def calls_in(bodies, part):
    """Return the arguments of every call that was told, pieces put together."""
    told = {}
    for choice in (choice for body in bodies for choice in body["choices"]):
        for place, call in enumerate(choice[part].get("tool_calls") or ()):
            index = call.get("index", place)
            told[index] = told.get(index, "") + (call["function"].get("arguments") or "")
    return [json.loads(arguments) for arguments in told.values()]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "replicate"])  # has no tools
@pytest.mark.parametrize("alone", [False, True])
async def test_a_caller_who_wants_one_call_at_a_time_gets_no_more(kind, alone, ask, simulator):
    simulator.script([{"then": {"tool_call": BOTH}}])
    asked = ask(kind, tools=[WEATHER], parallel_tool_calls=not alone)
    state = new_state()

    whole = await asked.client.complete(asked.request(), asked.to, state, soon())
    chunks = await asked.chunks()

    expected = [{"city": "Rome"}] if alone else [{"city": "Rome"}, {"city": "Oslo"}]
    assert calls_in([whole.body], "message") == expected
    assert calls_in([one.body for one in chunks if one.body], "delta") == expected
    assert whole.finish_reason == "tool_calls"
    assert state.made_good == (("parallel_tool_calls: 1 call left out",) if alone else ())


async def test_what_is_left_out_of_a_stream_is_counted_once_and_still_paid(ask, simulator):
    three = [*BOTH, {"name": "weather", "arguments": {"city": "Bern"}}]
    simulator.script([{"then": {"tool_call": three}}])
    asked = ask("google", tools=[WEATHER], parallel_tool_calls=False)
    state = new_state()

    request = asked.request(stream=True)
    chunks = [one async for one in asked.client.stream(request, asked.to, state, soon())]

    assert state.made_good == ("parallel_tool_calls: 2 calls left out",)
    assert sum(one.output_chars for one in chunks) > 3 * len('{"city":"Rome"}') - 1
