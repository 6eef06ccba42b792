"""Calls at once are limited by what an endpoint takes: in turn, within a bounded wait, to a use."""

import asyncio
import random
import time
from http import HTTPStatus

import pytest

from compass_ray.gateway.job import Clock
from compass_ray.gateway.throttle import Load, Throttle
from compass_ray.policy.concurrency import Bounds
from compass_ray.providers.base import Target
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import wire
from compass_ray.simulator import SimulatorProcess
from compass_ray.types.errors import (
    BadAnswer,
    CompassError,
    Overloaded,
    ProviderAuthFailed,
    RateLimited,
)
from compass_ray.types.settings import TimeoutSettings

from .conftest import Provider, answer, endpoint

A = endpoint("a")
PATIENT, BRIEF = Bounds(1, 1, 30.0), Bounds(1, 1, 0.01)


def throttle(bounds):
    return Throttle({"a": bounds}, time.monotonic)


async def waiting(limits, count):
    """Wait until so many wait for a place."""
    for _ in range(1_000):
        if limits.loads()["a/m"].waiting == count:
            return
        await asyncio.sleep(0)
    raise AssertionError(limits.loads())


async def test_a_provider_without_bounds_is_not_limited():
    limits = throttle(PATIENT)

    assert await limits.take(endpoint("b"), "acme") is None
    assert limits.loads() == {}


async def test_places_are_given_in_the_order_of_asking():
    limits, got = throttle(PATIENT), []
    held = await limits.take(A, "acme")

    async def ask(name):
        slot = await limits.take(A, "acme")
        got.append(name)
        slot.succeed()

    asking = [asyncio.create_task(ask(name)) for name in "xyz"]
    await waiting(limits, 3)
    assert limits.loads() == {"a/m": Load(1, 1, 3)}
    held.succeed()
    await asyncio.gather(*asking)

    assert got == ["x", "y", "z"]
    assert limits.loads() == {"a/m": Load(1, 0, 0)}


async def test_who_waits_too_long_is_told_how_many_are_under_way():
    limits = throttle(BRIEF)
    held = await limits.take(A, "acme")

    with pytest.raises(RateLimited, match="1 calls at once") as refused:
        await limits.take(A, "acme")
    held.abandon()

    assert (refused.value.code, refused.value.retry_after) == ("concurrency_limit", 0.01)
    assert limits.loads() == {"a/m": Load(1, 0, 0)}


async def test_nobody_waits_beyond_his_deadline():
    limits = throttle(PATIENT)
    await limits.take(A, "acme")

    async with asyncio.timeout(5):  # of the thirty that a caller may wait
        with pytest.raises(RateLimited):
            await limits.take(A, "acme", time.monotonic() + 0.01)


async def test_an_account_that_asks_for_much_takes_turns_with_the_others():
    limits, got = throttle(PATIENT), []
    held = await limits.take(A, "loud")

    async def ask(account):
        slot = await limits.take(A, account)
        got.append(account)
        slot.succeed()

    asking = [asyncio.create_task(ask("loud")) for _ in range(50)]
    await waiting(limits, 50)
    asking += [asyncio.create_task(ask(account)) for account in ("calm", "calm", "quiet")]
    await waiting(limits, 53)
    held.succeed()
    await asyncio.gather(*asking)

    assert got[:6] == ["loud", "calm", "quiet", "loud", "calm", "loud"]
    assert limits.loads() == {"a/m": Load(1, 0, 0)}


async def test_nobody_waits_at_an_endpoint_whose_circuit_has_opened(world):
    limits = throttle(PATIENT)
    w = world(throttle=limits, a=Provider(None), b=Provider(answer("from b")))
    first = asyncio.create_task(w.chat(model="a/m"))
    await w.providers["a"].waiting.wait()
    second = asyncio.create_task(w.chat(model="a/m", compass={"fallbacks": ["b/m"]}))
    await waiting(limits, 1)

    w.providers["a"].goes_on.set_exception(ProviderAuthFailed("401"))
    async with asyncio.timeout(5):
        reply = await second
    await asyncio.gather(first, return_exceptions=True)

    assert reply.endpoint.provider == "b"
    assert limits.loads() == {"a/m": Load(1, 0, 0)}


@pytest.mark.parametrize("how", ["answer", "failure"])
async def test_an_ended_call_gives_its_place_back(world, how):
    limits = throttle(Bounds(1, 4, 1.0))
    said = answer("hello") if how == "answer" else BadAnswer("html")
    w = world(throttle=limits, a=Provider(said))

    await asyncio.gather(w.chat(), return_exceptions=True)

    assert limits.loads()["a/m"].in_flight == 0


@pytest.mark.parametrize("freed_first", [False, True])
async def test_who_leaves_while_waiting_takes_no_place_with_him(freed_first):
    limits = throttle(PATIENT)
    held = await limits.take(A, "acme")
    leaver = asyncio.create_task(limits.take(A, "acme"))
    await waiting(limits, 1)

    if freed_first:
        held.succeed()
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    if not freed_first:
        held.succeed()

    assert limits.loads() == {"a/m": Load(1, 0, 0)}


async def test_an_overload_lowers_the_limit_and_is_no_affair_of_the_circuit():
    limits = throttle(Bounds(1, 64, 1.0))
    slot = await limits.take(A, "acme")

    assert slot.fail(Overloaded("503"))
    assert limits.loads()["a/m"].limit == 6


async def test_what_finds_no_place_goes_to_the_next_endpoint(world):
    scripts = {"a": Provider(None), "b": Provider(answer("from b"))}
    limits = throttle(BRIEF)
    w = world(throttle=limits, **scripts)
    first = asyncio.create_task(w.chat(model="a/m"))
    await w.providers["a"].waiting.wait()

    reply = await w.chat(model="a/m", compass={"fallbacks": ["b/m"]})
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert reply.endpoint.provider == "b"
    assert limits.loads() == {"a/m": Load(1, 0, 0)}


async def test_without_another_endpoint_it_is_a_429_that_costs_nothing(world):
    w = world(throttle=throttle(BRIEF), a=Provider(None))
    first = asyncio.create_task(w.chat())
    await w.providers["a"].waiting.wait()

    with pytest.raises(RateLimited):
        await w.chat()

    assert w.purse.ends == []
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_refused_budget_gives_its_place_back(world):
    limits = throttle(BRIEF)
    w = world(throttle=limits, a=Provider(), left=1)

    with pytest.raises(CompassError):
        await w.chat(model="a/m", max_tokens=1)

    assert all(load.in_flight == 0 for load in limits.loads().values())


CAPACITY = 8
CALLERS = 64
SECONDS = 2.0
ANSWER_SECONDS = 0.05
TIMEOUTS = TimeoutSettings(connect=2.0, first_byte=5.0, idle=2.0, total=10.0)


async def goodput(world, simulator, limits):
    """Return the answers a second of callers who ask as soon as they were answered."""
    loop = asyncio.get_running_loop()
    target = Target(f"{simulator.url}/openai/v1", "simulated")
    client = ProviderClient(wire("openai"), TIMEOUTS, CALLERS, target)
    clock = Clock(time.time, loop.time, asyncio.sleep, random.random)
    w = world(clock=clock, throttle=limits, a=client)
    began = loop.time()

    async def call():
        while loop.time() < began + SECONDS:
            try:
                await w.chat()
            except CompassError:
                await asyncio.sleep(ANSWER_SECONDS / 5)

    await asyncio.gather(*[call() for _ in range(CALLERS)])
    await client.close()
    return sum(one.status == HTTPStatus.OK for one in w.records) / (loop.time() - began)


@pytest.mark.server
@pytest.mark.parametrize("status", [429, 503])
async def test_an_overloaded_server_answers_more_where_its_limit_is_found_out(world, status):
    busy = {"error": {"status": status}, "ttft_s": ANSWER_SECONDS / 10}
    script = [
        {"match": {"busier_than": CAPACITY - 1}, "then": busy},
        {"then": {"ttft_s": ANSWER_SECONDS}},
    ]

    with SimulatorProcess(seed=1) as simulator:
        simulator.script(script)
        without = await goodput(world, simulator, None)
        found_out = await goodput(world, simulator, throttle(Bounds(1, 256, 5.0)))

    assert found_out > max(5 * without, 0.5 * CAPACITY / ANSWER_SECONDS), (found_out, without)
