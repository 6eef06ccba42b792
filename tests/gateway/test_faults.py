"""Faults of providers and callers over real connections; the numbers are those of the fault list.

The simulator's own log is the other side of every bill.
"""

import asyncio
import time
from dataclasses import replace

import httpx
import orjson
import pytest

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.policy.breaker import BreakerConfig
from compass_ray.policy.retry import RetryPolicy
from compass_ray.providers.base import Target
from compass_ray.providers.registry import wire
from compass_ray.types.chat import Chunk
from compass_ray.types.errors import AllAttemptsFailed
from compass_ray.types.settings import TimeoutSettings
from compass_ray.types.usage import Usage
from tests.simulator.conftest import process, simulator

from .conftest import endpoint
from .faults import MODELS, PATHS, Lab

__all__ = ["process", "simulator"]  # fixtures

pytestmark = pytest.mark.server

TEXT = "Ça va?  \n😀!"
"""Characters of one to four bytes, and blanks that a continuation has to keep."""
KINDS = list(PATHS)
ALONE = RetryPolicy(max_attempts=1)


@pytest.fixture
async def lab(simulator):
    made = Lab(simulator)
    yield made
    await made.close()


class Ideal:
    """A provider in memory that answers TEXT, or goes on with it from wherever it is asked to."""

    def prefills(self, _endpoint):
        return True

    async def stream(self, request, _endpoint, _state, _deadline):
        last = request.body["messages"][-1]
        rest = TEXT.removeprefix(last["content"]) if last["role"] == "assistant" else TEXT
        yield _chunk({"role": "assistant", "content": ""})
        for start in range(0, len(rest), 2):
            yield _chunk({"content": rest[start : start + 2]})
        yield _chunk({}, finish="stop")
        yield Chunk({"choices": []}, usage=Usage(7, 5))


def _chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return Chunk(
        {"id": "its own", "choices": [choice]}, len(delta.get("content", "")), None, finish
    )


async def whole_stream(lab, kind):
    """Return the bytes of the stream that the simulator sends."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "<0>"}]}
    target = Target(f"{lab.simulator.url}/{PATHS[kind]}", "sk-simulated")
    call = wire(kind).encode(
        parse(orjson.dumps(body), Limits()),
        replace(endpoint(kind), wire_model=MODELS[kind]),
        target,
    )
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(call.url, content=call.body, headers=dict(call.headers))
    return answer.content


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("on_break", "step"), [("error", 1), ("restart", 7), ("continue", 5)])
async def test_15_a_stream_cut_at_any_byte_ends_honestly_once(lab, kind, on_break, step):
    lab.simulator.script([{"then": {"text": TEXT}}])
    size = len(await whole_stream(lab, kind))

    for group in batched(range(1, size, step), 32):
        await asyncio.to_thread(lab.simulator.script, [_cut(at) for at in group])
        for at, seen, called in await asyncio.gather(
            *(_ask(lab, kind, on_break, at) for at in group)
        ):
            _check(seen, called, kind, f"cut at {at} of {size}")
            assert (seen.error is None) or on_break == "error", at


def batched(numbers, size):
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _cut(at):
    then = {"text": TEXT, "fault": {"cut_after_bytes": at}}
    return {"match": {"contains": f"<{at}>"}, "then": then}


async def _ask(lab, kind, on_break, at):
    called = lab.gateway(kind, ideal=Ideal(), retry=RetryPolicy(max_attempts=2))
    wish = {"on_break": on_break} | ({"providers": [kind]} if on_break == "error" else {})
    return at, await called.stream(f"<{at}>", compass=wish), called


def _check(seen, called, kind, case):
    (record,) = called.recorder.records
    assert seen.ends == 1, case
    assert seen.text == TEXT if seen.error is None else TEXT.startswith(seen.text), case
    assert len(called.purse.ends) == len(record.attempts) <= 2, case
    billed = [end[1] for end in called.purse.ends if end[0] == "settled"]
    assert len(billed) == len(set(billed)), case
    failed = any(attempt.error for attempt in record.attempts)
    assert called.opened() == ({f"{kind}/m"} if failed else set()), case
    if seen.error is not None and seen.text:
        assert called.purse.ends[0][3].output_tokens >= -(-len(seen.text) // 3), case


@pytest.mark.parametrize("kind", KINDS)
async def test_17_a_stream_that_is_done_without_a_finish_reason_is_broken(lab, kind):
    lab.simulator.script([{"then": {"text": TEXT, "fault": "no_finish_reason"}}])

    seen = await lab.gateway(kind, retry=ALONE).stream()

    assert (seen.finish, seen.text) == (None, TEXT)
    assert seen.error.status == 502


@pytest.mark.parametrize("kind", KINDS)
async def test_17_a_stream_with_a_finish_reason_and_no_end_is_whole(lab, kind):
    lab.simulator.script([{"then": {"text": TEXT, "fault": "no_done"}}])
    called = lab.gateway(kind)

    seen = await called.stream()

    assert (seen.finish, seen.text, seen.error) == ("stop", TEXT, None)
    assert called.opened() == set()


@pytest.mark.parametrize("kind", KINDS)
async def test_17_a_usage_that_is_missing_is_estimated_and_flagged(lab, kind):
    lab.simulator.script([{"then": {"text": TEXT, "fault": "no_usage"}}])
    called = lab.gateway(kind)

    seen = await called.stream(stream_options={"include_usage": True})

    last = seen.bodies[-1]
    (usage,) = [end[3] for end in called.purse.ends]
    assert usage.estimated
    assert last["choices"] == []
    assert last["compass"]["usage_estimated"] is True
    assert last["usage"]["completion_tokens"] == usage.output_tokens == -(-len(TEXT) // 3)


async def test_19_nothing_is_asked_again_after_the_first_token(lab):
    lab.simulator.script([{"then": {"text": TEXT, "fault": {"cut_after_chunks": 3}}}])

    seen = await lab.gateway("openai", "anthropic").stream()

    assert isinstance(seen.error, AllAttemptsFailed)
    assert len(await asyncio.to_thread(lab.simulator.log)) == 1


async def test_19_a_burst_of_failures_is_asked_again_no_more_than_the_budget_allows(lab):
    lab.simulator.script([{"then": {"error": 503}}])
    policy = RetryPolicy(max_attempts=4, backoff_base=0.01, budget=0.2, budget_floor=2)
    called = lab.gateway("openai", retry=policy)
    called.circuits._config = BreakerConfig(consecutive_failures=1_000, min_volume=1_000)

    await asyncio.gather(*(called.stream() for _ in range(40)))

    assert 40 <= len(await asyncio.to_thread(lab.simulator.log)) <= 40 + 3 * 8


PATIENCE = TimeoutSettings(connect=0.2, first_byte=0.2, idle=0.2, total=0.5)


@pytest.mark.parametrize(
    ("then", "phase", "produced"),
    [
        ({"fault": "blackhole"}, "first byte", 0),
        ({"ttft_s": 5}, "first byte", 0),
        ({"text": TEXT, "fault": {"stall_after_chunks": 3, "seconds": 5}}, "idle", 2),
        ({"tokens": 100, "tpot_s": 0.1}, "total", 4),
    ],
)
async def test_20_each_wait_has_its_own_patience_and_is_billed_once(
    simulator, then, phase, produced
):
    lab = Lab(simulator, PATIENCE)
    simulator.script([{"then": then}])
    called = lab.gateway("openai", retry=ALONE)

    seen = await called.stream()

    (entry,) = await lab.aborted()
    await lab.close()
    assert phase in seen.error.message
    ((how, _, _, usage),) = called.purse.ends
    assert (how, usage.estimated) == ("settled", True)
    assert entry["output_tokens"] >= produced
    assert usage.output_tokens >= produced
    assert called.opened() == {"openai/m"}


@pytest.mark.parametrize("stream", [False, True])
async def test_20_a_caller_s_deadline_bounds_all_attempts_together(lab, stream):
    lab.simulator.script(
        [{"match": {"nth": 1}, "then": {"error": 503, "ttft_s": 0.1}}, {"then": {"tpot_s": 0.1}}]
    )
    called = lab.gateway("openai", "anthropic")
    began = time.monotonic()

    failure = await called.failure(stream=stream, compass={"timeout_s": 0.4})

    assert 0.3 < time.monotonic() - began < 0.8
    assert "within 0.4 s" in failure.message
    (entry,) = await lab.aborted()
    assert [attempt["error"] for attempt in failure.attempts] == [
        "Overloaded",
        "DeadlineExceeded",
    ]
    assert called.purse.ends[1][3].output_tokens > 0
    assert entry["output_tokens"] > 0
    assert called.opened() == {"openai/m"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid", "https://{host}"])
async def test_20_where_no_connection_is_made_nothing_is_billed(lab, url):
    called = lab.gateway("openai", retry=ALONE)
    host = lab.simulator.url.removeprefix("http://")
    lab.clients["openai"].target = Target(url.format(host=host), "sk-simulated")

    seen = await called.stream()

    assert seen.error.status == 502
    assert [end[0] for end in called.purse.ends] == ["voided"]


@pytest.mark.parametrize("stream", [False, True])
async def test_26_the_loser_of_a_race_is_cancelled_upstream_and_billed_once(lab, stream):
    slow = {"ttft_s": 5} if stream else {"ttft_s": 0.1, "tpot_s": 0.02, "tokens": 200}
    lab.simulator.script(
        [
            {"match": {"provider": "openai"}, "then": slow},
            {"match": {"provider": "anthropic"}, "then": {"text": TEXT, "ttft_s": 0.3}},
        ]
    )
    called = lab.gateway("openai", "anthropic")

    wish = {"hedge_after_s": 0.1}
    if stream:
        seen = await called.stream(compass=wish, stream_options={"include_usage": True})
        body, text = seen.bodies[-1], seen.text
    else:
        body = (await called.ask(compass=wish)).body
        text = body["choices"][0]["message"]["content"]
    answered_at = time.time()

    (loser,) = await lab.aborted()
    assert text == TEXT
    assert loser["ended_at"] - answered_at < 0.2
    bills = {end[1]: end[2:] for end in called.purse.ends}
    assert len(called.purse.ends) == len(bills) == 2
    (won,) = [e for e in await asyncio.to_thread(lab.simulator.log) if not e["aborted"]]
    assert bills["anthropic"][1] == Usage(won["input_tokens"], won["output_tokens"])
    assert bills["openai"][1].estimated
    excess = bills["openai"][1].output_tokens - loser["output_tokens"]
    # Told by the time it took, at the pace that is expected of it.
    assert excess >= 0 if stream else abs(excess) <= 12
    assert body["compass"]["cost_micro_usd"] == sum(cost for cost, _ in bills.values())
    assert [attempt["ok"] for attempt in body["compass"]["attempts"]] == [False, True]
    assert called.opened() == set()


async def leave(called, lab, read, **fields):
    """Ask, take `read` chunks of text, leave, and return when that was."""

    async def client():
        reply = await called.ask(**fields)
        try:
            taken = 0
            async for body in reply.chunks():
                taken += bool(body["choices"][0]["delta"].get("content"))
                if taken >= read:
                    arrived.set()
        finally:
            await reply.close()

    arrived = asyncio.Event()
    asking = asyncio.create_task(client())
    if read:
        await arrived.wait()
    else:
        await asyncio.sleep(0.1)
    left_at = time.time()
    asking.cancel()
    await asyncio.wait([asking])
    return left_at


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("read", "then", "stream"),
    [
        (0, {"ttft_s": 5}, False),
        (0, {"ttft_s": 5}, True),
        (5, {"tokens": 200, "tpot_s": 0.02}, True),
    ],
    ids=["whole", "before the first token", "mid-stream"],
)
async def test_27_who_leaves_stops_the_provider_and_pays_for_what_it_produced(
    lab, kind, read, then, stream
):
    lab.simulator.script([{"then": then}])
    called = lab.gateway(kind)

    left_at = await leave(called, lab, read, stream=stream)

    (entry,) = await lab.aborted()
    assert entry["ended_at"] - left_at < 0.2
    ((how, _, _, usage),) = called.purse.ends
    assert how == "settled"
    assert entry["output_tokens"] >= read
    # Our count is of characters, 3 to a token; the simulator's tokens have 4 bytes.
    assert abs(usage.output_tokens - entry["output_tokens"]) <= entry["output_tokens"] // 3 + 2
    assert called.recorder.records[0].status == 499
    assert called.recorder.in_progress == 0
    assert called.opened() == set()


@pytest.mark.parametrize("stream", [False, True])
async def test_27_who_leaves_while_waiting_for_a_connection_pays_nothing(simulator, stream):
    lab = Lab(simulator, max_parallel=1)
    simulator.script([{"then": {"tokens": 200, "tpot_s": 0.02}}])
    busy = asyncio.create_task(lab.gateway("openai").stream())
    await asyncio.sleep(0.1)
    called = lab.gateway("openai")

    await leave(called, lab, 0, stream=stream)

    busy.cancel()
    await asyncio.wait([busy])
    (entry,) = await lab.aborted()
    await lab.close()
    assert entry["number"] == 1
    assert called.purse.ends == [("voided", "req_1/0")]
    assert called.recorder.in_progress == 0


async def test_27_who_leaves_right_before_the_usage_pays_for_the_whole_text(lab):
    chunks = 2 + len(TEXT.encode()) // 4 + 1  # role, tokens, finish
    fault = {"stall_after_chunks": chunks, "seconds": 5}
    lab.simulator.script([{"then": {"text": TEXT, "fault": fault}}])
    called = lab.gateway("openai")

    left_at = await leave(called, lab, chunks - 2, stream=True)

    (entry,) = await lab.aborted()
    assert entry["ended_at"] - left_at < 0.2
    assert called.purse.ends[0][3].output_tokens == -(-len(TEXT) // 3)


async def test_27_a_slot_is_free_again_when_its_caller_has_left(simulator):
    lab = Lab(simulator, max_parallel=1)
    simulator.script(
        [{"match": {"nth": 1}, "then": {"tokens": 200, "tpot_s": 0.02}}, {"then": {"text": "next"}}]
    )

    await leave(lab.gateway("openai"), lab, 3, stream=True)
    async with asyncio.timeout(1):
        seen = await lab.gateway("openai").stream()

    await lab.close()
    assert (seen.text, seen.error) == ("next", None)
