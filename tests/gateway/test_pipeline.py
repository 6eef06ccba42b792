import asyncio
import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.columns import Weights
from compass_ray.types.errors import (
    AllAttemptsFailed,
    BrokenStream,
    BudgetExceeded,
    DeadlineExceeded,
    InvalidRequest,
    NoEndpoint,
    Overloaded,
    ProviderFault,
    ProviderTimeout,
    RateLimited,
    Rejected,
    UnknownModel,
)
from compass_ray.types.routing import Tier
from compass_ray.types.usage import Price, Usage

from .conftest import PRICE, USAGE, Provider, answer, build_world, chunk, endpoint

COST = 10 * 1 + 5 * 2


async def collect(reply):
    try:
        return [body async for body in reply.chunks()]
    finally:
        await reply.close()


async def test_an_answer_is_charged_what_it_cost(world):
    w = world(a=Provider(answer("hello")), left=1_000)

    reply = await w.chat()

    assert reply.body["choices"][0]["message"]["content"] == "hello"
    assert reply.job.cost == COST
    assert w.purse.ends == [("settled", "a", COST, USAGE)]
    assert w.purse.left == 1_000 - COST
    assert w.records[0].status == 200
    assert w.records[0].cost == COST


async def test_a_failed_endpoint_gives_way_to_the_next(world):
    w = world(a=Provider(ProviderFault("500")), b=Provider(answer()))

    reply = await w.chat()

    assert reply.endpoint.provider == "b"
    assert [(a.endpoint, a.ok) for a in reply.job.attempts] == [("a/m", False), ("b/m", True)]
    assert w.purse.ends == [("voided", "req_1/0"), ("settled", "b", COST, USAGE)]
    assert w.slept == []


async def test_the_only_endpoint_is_tried_again_after_a_backoff(world):
    w = world(a=Provider(Overloaded("503"), answer()))

    await w.chat()

    assert w.slept == [0.1]


@pytest.mark.parametrize("said", [None, 0.05, 2.0])
async def test_a_retry_after_a_rate_limit_waits_as_long_as_the_circuit_does(world, said):
    w = world(a=Provider(RateLimited("429", retry_after=said), answer()))

    reply = await w.chat()

    assert [attempt.ok for attempt in reply.job.attempts] == [False, True]
    assert sum(w.slept) == pytest.approx(max(w.cooldown(said), w.slept[0]))


async def test_a_provider_that_says_it_is_used_up_rests_before_it_refuses(world):
    first, second = Provider(answer(), answer()), Provider(answer())
    w = world(a=first, b=second)
    first.rests_for = 7.0

    chosen = [(await w.chat()).endpoint.provider for _ in range(2)]
    cools = w.circuits.cools_for("a/m", 1_000.0)

    assert (chosen, cools) == (["a", "b"], 7.0)
    assert [status for status, *_ in w.purse.ends] == ["settled", "settled"]


async def test_a_stream_s_provider_rests_from_its_first_chunk_on(world):
    first = Provider([chunk("x"), chunk("", finish_reason="stop", usage=USAGE)])
    w = world(a=first, b=Provider(answer()))
    first.rests_for = 7.0

    reply = await w.chat(stream=True)
    other = await w.chat()

    assert other.endpoint.provider == "b"
    assert len([one async for one in reply.chunks()]) >= 1
    await reply.close()
    assert [end[:2] for end in w.purse.ends] == [("settled", "b"), ("settled", "a")]


async def test_a_storm_of_failures_makes_no_storm_of_retries(world):
    w = world(a=Provider(*[Overloaded("503")] * 60))
    patience = asyncio.Event()

    async def sleep(_seconds):
        await patience.wait()

    w.gateway._attempts._clock = replace(w.gateway._attempts._clock, sleep=sleep)
    asking = [asyncio.create_task(w.chat()) for _ in range(20)]
    await asyncio.sleep(0)
    failed_at_once = sum(one.done() for one in asking)
    patience.set()
    await asyncio.gather(*asking, return_exceptions=True)

    assert w.providers["a"].calls < 20 + 3 * 4
    assert failed_at_once >= 20 - 4
    assert w.gateway._attempts._retrying == w.gateway._attempts._in_progress == 0


async def test_attempts_are_bounded_and_listed(world):
    w = world(a=Provider(*[ProviderFault("500")] * 9), attempts=3)

    with pytest.raises(AllAttemptsFailed) as failure:
        await w.chat()

    assert w.providers["a"].calls == 3
    assert [a["error"] for a in failure.value.attempts] == ["ProviderFault"] * 3
    assert failure.value.status == 502
    assert w.records[0].status == 502


async def test_a_rate_limit_beyond_the_patience_is_passed_on(world):
    w = world(a=Provider(RateLimited("429", retry_after=99.0)))

    with pytest.raises(AllAttemptsFailed) as failure:
        await w.chat()

    assert failure.value.status == 429
    assert failure.value.retry_after == 99.0


async def test_what_the_provider_rejects_is_not_tried_elsewhere(world):
    w = world(a=Provider(Rejected("bad")), b=Provider())

    with pytest.raises(AllAttemptsFailed) as failure:
        await w.chat()

    assert failure.value.blame == "caller"
    assert w.providers["b"].calls == 0


async def test_what_one_wire_cannot_express_another_may(world):
    w = world(a=Provider(InvalidRequest("no", param="seed")), b=Provider(answer()))

    assert (await w.chat()).endpoint.provider == "b"


async def test_a_call_that_was_not_heard_to_the_end_is_charged_an_estimate(world):
    w = world(a=Provider(ProviderTimeout("slow", phase="first byte")), b=Provider(answer()))

    await w.chat()

    _, provider, cost, usage = w.purse.ends[0]
    assert provider == "a"
    assert cost > 0
    assert usage.estimated


async def test_an_estimate_counts_every_choice_and_the_calls_of_tools(world):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 90}}
    told = answer("y" * 30, usage=None, tool_calls=[call])
    told.body["choices"] *= 2
    w = world(a=Provider(told))

    await w.chat(n=2)

    assert w.purse.ends[0][3].output_tokens == 2 * (30 + 90) // 3


async def test_an_absurd_usage_is_replaced_by_an_estimate(world):
    w = world(a=Provider(answer("x" * 30, Usage(input_tokens=-5, output_tokens=2**50))))

    await w.chat()

    usage = w.purse.ends[0][3]
    assert usage.estimated
    assert usage.output_tokens == 10
    assert usage.input_tokens > 0


async def test_without_money_nothing_is_called(world):
    w = world(a=Provider(), left=10)

    with pytest.raises(BudgetExceeded):
        await w.chat()

    assert w.providers["a"].calls == 0
    assert w.purse.left == 10
    assert w.records[0].status == 402


async def test_a_cheaper_endpoint_is_used_when_the_dearer_does_not_fit(world):
    dear = endpoint("dear", price=Price(10**9, 10**9), skills={"reasoning": 5})
    w = world(
        dear=Provider(), cheap=Provider(answer()), endpoints=[dear, endpoint("cheap")], left=1_000
    )

    assert (await w.chat()).endpoint.provider == "cheap"


async def test_the_more_of_a_budget_is_used_the_more_a_low_price_counts(world):
    rich, poor = (dict.fromkeys(("reasoning", "coding", "creative", "math"), n) for n in (5, 1))
    dear = endpoint("dear", price=Price(10**7, 10**7), skills=rich)
    skill, price = Weights(1, 0, 0, 0, 0), Weights(0, 0, 0, 1, 0)
    w = world(
        dear=Provider(answer()),
        cheap=Provider(answer(), answer()),
        endpoints=[dear, endpoint("cheap", "other", price=Price(1, 1), skills=poor)],
        left=10**9,
        weights=skill,
        thrift=((0.5, skill), (0.9, price)),
    )
    chosen = []

    for w.purse.share, own in ((0.6, 0.5), (0.95, 0.5), (0.6, 0.95)):
        chosen.append((await w.chat(compass={"budget_used": own})).endpoint.provider)

    assert chosen == ["dear", "cheap", "cheap"]


async def test_a_budgeted_caller_is_kept_from_an_unknown_price(world):
    w = world(a=Provider(), endpoints=[endpoint("a", price=None)], left=1_000)

    with pytest.raises(InvalidRequest, match="price unknown"):
        await w.chat()


async def test_a_pinned_model_is_never_replaced(world):
    endpoints = [endpoint("a", "x"), endpoint("b", "y")]
    w = world(a=Provider(*[ProviderFault("500")] * 3), b=Provider(), endpoints=endpoints)

    with pytest.raises(AllAttemptsFailed):
        await w.chat(model="x")

    assert w.providers["b"].calls == 0


async def test_a_pinned_model_gives_way_to_the_fallbacks_that_its_caller_lists(world):
    endpoints = [endpoint("a", "x"), endpoint("b", "y"), endpoint("c", "z")]
    w = world(
        a=Provider(ProviderFault("500")), b=Provider(), c=Provider(answer()), endpoints=endpoints
    )

    reply = await w.chat(model="x", compass={"fallbacks": ["z"]})

    assert reply.endpoint.id == "c/z"
    assert w.providers["b"].calls == 0


def slow():
    return ProviderTimeout("slow", phase="first byte")


@pytest.mark.parametrize(("limit", "calls"), [(197, 1), (201, 1), (202, 2), (206, 2), (207, 3)])
async def test_a_cost_limit_holds_for_all_attempts_together(world, limit, calls):
    """The worst case of one attempt is 197 µ$; each, unheard, is charged 5."""
    w = world(a=Provider(slow()), b=Provider(slow()), c=Provider(slow()))

    with pytest.raises(AllAttemptsFailed) as failure:
        await w.chat(compass={"max_cost_usd": f"0.{limit:06d}"})

    assert sum(provider.calls for provider in w.providers.values()) == calls
    assert failure.value.status == 504
    assert w.records[0].cost <= limit


@given(limit=st.integers(1, 2_000), failures=st.integers(0, 5), price=st.integers(1, 20))
async def test_no_chain_of_attempts_costs_more_than_its_caller_allows(limit, failures, price):
    names = "abcdef"
    endpoints = [endpoint(name, price=Price(price * 10**6, 2 * price * 10**6)) for name in names]
    providers = {name: Provider(slow()) for name in names[:failures]}
    providers |= {name: Provider(answer()) for name in names[failures:]}
    w = build_world(endpoints=endpoints, attempts=6, **providers)

    with contextlib.suppress(AllAttemptsFailed, InvalidRequest):
        await w.chat(compass={"max_cost_usd": f"0.{limit:06d}"})

    assert w.records[0].cost <= limit
    assert sum(end[2] for end in w.purse.ends if end[0] == "settled") == w.records[0].cost


async def test_a_cost_limit_holds_for_a_stream_that_begins_anew(world):
    w = world(a=Provider([chunk("x" * 60), BrokenStream("cut")]), b=Provider())

    with pytest.raises(AllAttemptsFailed):
        await collect(
            await w.chat(stream=True, compass={"on_break": "restart", "max_cost_usd": "0.000260"})
        )

    assert w.providers["b"].calls == 0


async def test_a_price_nobody_knows_is_closed_to_who_sets_a_cost_limit(world):
    w = world(a=Provider(), endpoints=[endpoint("a", price=None)])

    with pytest.raises(InvalidRequest, match="price unknown"):
        await w.chat(compass={"max_cost_usd": 5})


class Late(Provider):
    """Takes its time before it does what the script says."""

    def __init__(self, *script):
        super().__init__(*script)
        self.world = None

    async def complete(self, *asked):
        await self.world.gateway._attempts._clock.sleep(2)
        return await super().complete(*asked)


async def test_a_caller_s_own_deadline_says_nothing_about_the_endpoint(world):
    late = Late(*[ProviderTimeout("slow", phase="total")] * 6)
    w = late.world = world(a=late, attempts=1)
    for _ in range(6):
        with pytest.raises(AllAttemptsFailed, match="within 2 s") as failure:
            await w.chat(compass={"timeout_s": 2})

    assert (failure.value.status, failure.value.blame) == (504, "caller")
    assert failure.value.param == "compass.timeout_s"
    assert w.circuits.excluded(1_000.0) == {}
    assert w.purse.ends[0][0] == "settled"


async def test_a_deadline_of_the_operator_s_says_something_about_the_endpoint(world):
    w = world(a=Provider(*[ProviderTimeout("slow", phase="total")] * 5), attempts=1)
    for _ in range(5):
        with pytest.raises(AllAttemptsFailed):
            await w.chat()

    assert list(w.circuits.excluded(1_000.0)) == ["a/m"]


async def test_nobody_is_called_when_the_time_is_over(world):
    w = world(a=Provider(), b=Provider())
    hold = w.gateway._attempts._admission.hold

    async def after_a_while(*args):
        held = await hold(*args)
        await w.gateway._attempts._clock.sleep(3)
        return held

    w.gateway._attempts._admission.hold = after_a_while
    with pytest.raises(DeadlineExceeded):
        await w.chat(compass={"timeout_s": 2})

    assert w.providers["a"].calls == w.providers["b"].calls == 0
    assert w.purse.ends == [("voided", "req_1/0")]


async def test_an_unknown_model_is_not_found(world):
    w = world(a=Provider())

    with pytest.raises(UnknownModel):
        await w.chat(model="gpt-99")


async def test_an_unconfigured_provider_is_named_with_what_it_waits_for(world):
    w = world(a=Provider())
    w.directory.out = {"a": "provider not configured: set A_KEY"}

    with pytest.raises(NoEndpoint, match="set A_KEY"):
        await w.chat()


async def test_a_model_that_starts_too_late_leaves_the_request_to_others(world):
    w = world(a=Provider(answer("late")), b=Provider(answer("now")))
    w.directory.starting = {"a": {"m": 30.0}}

    hurried = await w.chat(compass={"timeout_s": 10})

    assert hurried.body["choices"][0]["message"]["content"] == "now"


async def test_five_failures_in_a_row_open_the_circuit(world):
    w = world(a=Provider(*[ProviderFault("500")] * 9), attempts=1)
    for _ in range(5):
        with pytest.raises(AllAttemptsFailed):
            await w.chat()

    with pytest.raises(NoEndpoint, match="circuit open"):
        await w.chat()

    assert w.providers["a"].calls == 5


async def test_a_stream_is_passed_on_and_charged_at_its_end(world):
    steps = [chunk("he"), chunk("llo", finish_reason="stop"), chunk(usage=USAGE)]
    w = world(a=Provider(steps), left=1_000)

    bodies = await collect(await w.chat(stream=True))

    assert [b["choices"][0]["delta"]["content"] for b in bodies] == ["he", "llo"]
    assert w.purse.ends == [("settled", "a", COST, USAGE)]
    assert w.records[0].status == 200
    assert w.records[0].ttft is not None
    assert w.providers["a"].closed == 1


async def test_the_usage_chunk_comes_last_and_tells_the_cost_if_it_was_asked_for(world):
    w = world(a=Provider([chunk("hi", finish_reason="stop"), chunk(usage=USAGE)]))

    bodies = await collect(await w.chat(stream=True, stream_options={"include_usage": True}))

    assert bodies[-1]["choices"] == []
    assert bodies[-1]["compass"]["cost_micro_usd"] == COST
    assert [a["cost_micro_usd"] for a in bodies[-1]["compass"]["attempts"]] == [COST]
    assert not any("compass" in body for body in bodies[:-1])


async def test_a_usage_that_was_asked_for_and_not_told_is_estimated_and_flagged(world):
    w = world(a=Provider([chunk("x" * 30), chunk("y", finish_reason="stop")]))

    bodies = await collect(await w.chat(stream=True, stream_options={"include_usage": True}))

    assert bodies[-1]["choices"] == []
    assert bodies[-1]["usage"]["completion_tokens"] == 11
    assert bodies[-1]["compass"]["usage_estimated"] is True


async def test_the_finish_reason_tells_of_the_attempts_where_no_usage_was_asked_for(world):
    w = world(
        a=Provider([Overloaded("503")]),
        b=Provider([chunk("hi"), chunk("!", finish_reason="stop"), chunk(usage=USAGE)]),
    )

    first, last = await collect(await w.chat(stream=True))

    assert "compass" not in first
    assert [a["endpoint"] for a in last["compass"]["attempts"]] == ["a/m", "b/m"]
    assert "cost_micro_usd" not in last["compass"]


async def test_an_answer_lists_its_attempts_and_what_each_cost(world):
    w = world(a=Provider(ProviderTimeout("slow", phase="first byte")), b=Provider(answer()))

    told = (await w.chat()).body["compass"]

    slow, done = told["attempts"]
    assert (slow["endpoint"], slow["ok"], slow["error"]) == ("a/m", False, "ProviderTimeout")
    assert (done["endpoint"], done["ok"], done["cost_micro_usd"]) == ("b/m", True, COST)
    assert told["cost_micro_usd"] == slow["cost_micro_usd"] + COST
    assert "usage_estimated" not in told


async def test_the_record_counts_the_tokens_of_all_attempts(world):
    w = world(a=Provider(ProviderTimeout("slow", phase="first byte")), b=Provider(answer()))

    await w.chat()

    usages = [usage for *_, usage in w.purse.ends]
    assert w.records[0].usage.input_tokens == sum(usage.input_tokens for usage in usages)
    assert w.records[0].cost == sum(cost for _, _, cost, _ in w.purse.ends)


async def test_a_stream_fails_over_before_its_first_chunk(world):
    w = world(a=Provider([Overloaded("503")]), b=Provider([chunk("hi", finish_reason="stop")]))

    reply = await w.chat(stream=True)

    assert reply.endpoint.provider == "b"
    assert len(await collect(reply)) == 1


async def test_a_broken_stream_charges_what_was_delivered_and_is_not_retried(world):
    w = world(a=Provider([chunk("x" * 30), BrokenStream("cut")]), b=Provider())

    with pytest.raises(AllAttemptsFailed, match="cut") as failure:
        await collect(await w.chat(stream=True))

    assert [attempt["error"] for attempt in failure.value.attempts] == ["BrokenStream"]
    _, provider, cost, usage = w.purse.ends[0]
    assert provider == "a"
    assert usage.estimated
    assert usage.output_tokens == 10
    assert cost >= 20
    assert w.providers["b"].calls == 0
    assert w.records[0].status == 502
    assert not w.records[0].attempts[0].ok


async def test_a_caller_who_leaves_stops_the_provider_and_pays_for_what_came(world):
    w = world(a=Provider([chunk("x" * 30), None]))
    reply = await w.chat(stream=True)

    async def read():
        await collect(reply)

    reading = asyncio.create_task(read())
    await w.providers["a"].waiting.wait()
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading

    assert w.providers["a"].closed == 1
    assert w.purse.ends[0][3].output_tokens == 10
    assert w.records[0].status == 499


async def test_a_caller_who_leaves_before_the_first_byte_pays_an_estimate_once(world):
    w = world(a=Provider(None), left=1_000)
    asking = asyncio.create_task(w.chat())
    await w.providers["a"].waiting.wait()

    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking

    assert len(w.purse.ends) == 1
    assert w.purse.ends[0][3].estimated
    assert w.records[0].status == 499


async def test_a_stream_that_is_never_read_is_charged_when_it_is_closed(world):
    w = world(a=Provider([chunk("hi"), None]))
    reply = await w.chat(stream=True)

    await reply.close()

    assert len(w.purse.ends) == 1
    assert w.providers["a"].closed == 1


async def test_a_dry_run_calls_nobody(world):
    w = world(a=Provider(), endpoints=[endpoint("a", tier=Tier.FAST, price=PRICE)])
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'

    decision = w.gateway.dry_run(body, w.gateway.authenticate(None))

    assert decision.endpoints[0].provider == "a"
    assert w.providers["a"].calls == 0
