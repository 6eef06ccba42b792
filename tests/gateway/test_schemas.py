"""A schema for a model that knows none: told in words, checked, mended once, refused honestly."""

import asyncio
import json
import time

import pytest

from compass_ray.gateway.job import Clock
from compass_ray.types.errors import (
    AllAttemptsFailed,
    BudgetExceeded,
    CompassError,
    InvalidRequest,
    Overloaded,
)

from .conftest import USAGE, Provider, answer, chunk, endpoint

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
GOOD, BAD = answer('{"city": "Rome"}'), answer('{"town": "Rome"}')
COST = 20


def asking(world, *said, **fields):
    """Build a world with one endpoint that knows no schemas."""
    return world(endpoints=[endpoint("plain")], plain=Provider(*said), **fields)


def content(reply):
    return reply.body["choices"][0]["message"]["content"]


async def test_the_schema_is_told_in_words_and_a_good_answer_is_told(world):
    w = asking(world, GOOD)

    reply = await w.chat(model="plain/m", response_format=FORMAT)

    assert content(reply) == '{"city": "Rome"}'
    (sent,) = w.providers["plain"].requests
    assert json.dumps(SCHEMA, separators=(",", ":")) in sent.body["messages"][0]["content"]
    assert sent.body["response_format"] == {"type": "json_object"}
    (attempt,) = reply.body["compass"]["attempts"]
    assert attempt["made_good"] == ["response_format: told in words, and checked"]
    assert w.records[0].cost == COST


async def test_fences_are_taken_off(world):
    w = asking(world, answer('```json\n{"city": "Rome"}\n```'))

    assert content(await w.chat(response_format=FORMAT)) == '{"city": "Rome"}'


async def test_an_answer_that_misses_is_mended_once_and_both_are_billed(world):
    w = asking(world, BAD, GOOD)

    reply = await w.chat(response_format=FORMAT)

    assert content(reply) == '{"city": "Rome"}'
    second = w.providers["plain"].requests[1].body["messages"]
    assert [one["role"] for one in second] == ["system", "user", "assistant", "user"]
    assert second[2]["content"] == '{"town": "Rome"}'
    assert "breaks its schema (required)" in second[3]["content"]
    first, last = reply.body["compass"]["attempts"]
    assert (first["error"], first["ok"], last["ok"]) == ("SchemaMissed", False, True)
    assert [end[:3] for end in w.purse.ends] == [("settled", "plain", COST)] * 2
    assert reply.body["compass"]["cost_micro_usd"] == w.records[0].cost == 2 * COST
    assert w.slept == []


@pytest.mark.parametrize("stream", [False, True])
async def test_who_misses_twice_is_an_error_of_the_provider_that_costs_what_it_took(world, stream):
    w = asking(world, BAD, BAD)

    with pytest.raises(AllAttemptsFailed) as failed:
        await w.chat(response_format=FORMAT, stream=stream)

    assert (failed.value.status, failed.value.blame) == (502, "provider")
    assert failed.value.code == "schema_missed"
    assert "Rome" not in failed.value.message
    assert w.records[0].cost == 2 * COST
    assert w.circuits.admit("plain/m", 1_000.0) is not None


async def test_a_missed_schema_trips_no_circuit(world):
    w = asking(world, *[BAD] * 40)

    for _ in range(20):
        with pytest.raises(AllAttemptsFailed):
            await w.chat(response_format=FORMAT)

    assert w.providers["plain"].calls == 40


async def test_who_knows_schemas_is_asked_first_however_it_scores(world):
    able = endpoint("able", capabilities=frozenset({"json_schema"}), expected_tpot=9.0)
    native = Provider(GOOD)
    w = world(endpoints=[endpoint("plain"), able], plain=Provider(), able=native)

    reply = await w.chat(response_format=FORMAT)

    assert reply.endpoint.id == "able/m"
    assert native.requests[0].body["response_format"] == FORMAT
    assert "made_good" not in reply.body["compass"]["attempts"][0]


async def test_where_who_knows_schemas_fails_others_are_told_in_words(world):
    able = endpoint("able", capabilities=frozenset({"json_schema"}))
    providers = {"plain": Provider(GOOD), "able": Provider(Overloaded("503"))}
    w = world(endpoints=[endpoint("plain"), able], **providers)

    assert (await w.chat(response_format=FORMAT)).endpoint.id == "plain/m"


async def test_another_model_is_asked_where_the_first_cannot_mend_its_answer(world):
    scripts = {"a": Provider(BAD, BAD), "b": Provider(GOOD)}
    w = world(endpoints=[endpoint("a"), endpoint("b")], **scripts)

    assert (await w.chat(response_format=FORMAT)).endpoint.provider == "b"
    assert w.records[0].cost == 3 * COST


async def test_a_stream_is_held_back_until_its_answer_was_checked(world):
    w = asking(world, BAD, GOOD)

    reply = await w.chat(
        response_format=FORMAT, stream=True, stream_options={"include_usage": True}
    )
    bodies = [body async for body in reply.chunks()]
    await reply.close()

    said = "".join(c["delta"].get("content") or "" for b in bodies for c in b["choices"])
    assert said == '{"city": "Rome"}'
    assert bodies[-1]["compass"]["cost_micro_usd"] == w.records[0].cost == 2 * COST
    assert (w.records[0].status, w.records[0].stream) == (200, True)
    assert w.records[0].usage == USAGE + USAGE
    assert all("stream" not in one.body for one in w.providers["plain"].requests)


async def test_a_native_stream_is_not_held_back(world):
    able = endpoint("able", capabilities=frozenset({"json_schema"}))
    parts = [chunk("{"), chunk(finish_reason="stop", usage=USAGE)]
    w = world(endpoints=[able], able=Provider(parts))

    reply = await w.chat(response_format=FORMAT, stream=True)
    bodies = [body async for body in reply.chunks()]
    await reply.close()

    assert bodies[0]["choices"][0]["delta"]["content"] == "{"


@pytest.mark.parametrize(
    "other",
    [
        answer('{"city": "Ro', finish="length"),
        answer(None, refusal="No."),
        answer("", finish="content_filter"),
    ],
)
async def test_what_ended_otherwise_is_told_as_it_is(world, other):
    w = asking(world, other)

    reply = await w.chat(response_format=FORMAT)

    assert reply.body["choices"] == other.body["choices"]


async def test_a_schema_that_cannot_be_checked_is_refused_by_its_field(world):
    w = asking(world)
    odd = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"pattern": "(a+)+"}}}

    with pytest.raises(InvalidRequest) as refused:
        await w.chat(response_format=odd)

    assert refused.value.param == "response_format.json_schema.schema"
    assert w.providers["plain"].calls == 0
    assert w.purse.ends == []
    assert w.records[0].status == 400


async def test_the_cost_limit_holds_for_the_mending_too(world):
    w = asking(world, GOOD, BAD)
    reserved = reservations(w)
    body = {"model": "plain/m", "response_format": FORMAT}
    await w.chat(**body, compass={"max_cost_usd": 0.010000})
    limit = f"{(reserved[0] + COST) / 1e6:.6f}"

    with pytest.raises(AllAttemptsFailed):
        await w.chat(**body, compass={"max_cost_usd": limit})

    assert w.providers["plain"].calls == 2
    assert w.records[1].cost == COST


def reservations(w):
    """Return what will be reserved, call by call, in micro-dollars."""
    reserved = []
    hold = w.purse.hold

    async def noting(reservation_id, account, provider, amounts, now):
        reserved.append(amounts.usd)
        return await hold(reservation_id, account, provider, amounts, now)

    w.purse.hold = noting
    return reserved


async def test_what_is_reserved_covers_the_words(world):
    w = asking(world, BAD, GOOD, left=1_000_000)
    reserved = reservations(w)
    await w.chat(response_format=FORMAT)

    plain, corrected = w.providers["plain"].requests
    said = [sum(len(m["content"]) for m in one.body["messages"]) for one in (plain, corrected)]
    assert reserved[0] > said[0]
    assert reserved[1] - reserved[0] >= said[1] - said[0]


async def test_mending_comes_out_of_the_retry_budget(world):
    w = asking(world, BAD, GOOD)
    w.gateway._attempts._retrying = 99

    with pytest.raises(AllAttemptsFailed):
        await w.chat(response_format=FORMAT)

    assert w.providers["plain"].calls == 1


async def test_a_caller_who_leaves_while_the_stream_is_held_back_stops_it(world):
    w = asking(world, None)
    waiting = asyncio.create_task(w.chat(response_format=FORMAT, stream=True))
    await w.providers["plain"].waiting.wait()

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert w.records[0].status == 499
    assert len(w.purse.ends) == 1


ZIP = {"type": "object", "properties": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}}}
KNOWS = frozenset({"json_schema"})


def of(schema):
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


async def test_where_who_knows_schemas_is_out_of_service_it_is_no_fault_of_the_caller(world):
    able = Provider(*[Overloaded("503")] * 40)
    endpoints = [endpoint("able", capabilities=KNOWS), endpoint("plain")]
    w = world(endpoints=endpoints, able=able, plain=Provider())

    seen = set()
    for _ in range(12):
        with pytest.raises(CompassError) as failed:
            await w.chat(response_format=of(ZIP))
        seen.add(failed.value.status)

    assert seen == {503}


async def test_a_budget_that_is_short_says_more_than_what_another_cannot_be_told(world):
    endpoints = [endpoint("able", capabilities=KNOWS), endpoint("plain")]
    w = world(endpoints=endpoints, able=Provider(), plain=Provider(), left=1)
    asked = {"model": "plain/m", "compass": {"fallbacks": ["able/m"]}}

    with pytest.raises(BudgetExceeded):
        await w.chat(**asked, response_format=of(ZIP))


class Slow(Provider):
    """Takes long enough for another to be tried beside it."""

    async def _play(self, step):
        await asyncio.sleep(0.05)
        return step


async def test_of_two_that_miss_at_once_each_is_told_what_was_wrong(world):
    clock = Clock(time.time, time.monotonic, asyncio.sleep, lambda: 0.5)
    a, b = Slow(BAD, GOOD), Slow(BAD, BAD)
    w = world(endpoints=[endpoint("a"), endpoint("b")], attempts=4, clock=clock, a=a, b=b)

    reply = await w.chat(response_format=FORMAT, compass={"hedge_after_s": 0.01})

    assert content(reply) == '{"city": "Rome"}'


async def test_a_schema_of_many_parts_is_refused_before_it_takes_long(world):
    w = asking(world)

    with pytest.raises(InvalidRequest, match="more than 400 parts"):
        await w.chat(response_format=of({"anyOf": [{}] * 3_000}))
