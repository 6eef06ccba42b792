"""A second attempt beside one that takes long: one answer, and every attempt charged once."""

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from compass_ray.gateway.hedge import race
from compass_ray.gateway.throttle import Throttle
from compass_ray.policy.concurrency import Bounds
from compass_ray.types.errors import (
    AllAttemptsFailed,
    BudgetExceeded,
    LedgerUnavailable,
    Overloaded,
    Rejected,
)
from compass_ray.types.usage import Usage

from .conftest import USAGE, Provider, answer, chunk, endpoint

ASK = {"compass": {"hedge_after_s": 0.5}}


async def some_turns():
    for _ in range(50):  # of the loop
        await asyncio.sleep(0)


def ends(w):
    return [(end[0], end[1]) for end in w.purse.ends]


async def test_a_second_attempt_answers_where_the_first_takes_too_long(world):
    w = world(a=Provider(None), b=Provider(answer()))

    reply = await w.chat(**ASK)

    assert reply.endpoint.provider == "b"
    assert w.slept == [0.5]
    told = reply.body["compass"]["attempts"]
    assert [(a["endpoint"], a["ok"], a.get("error")) for a in told] == [
        ("a/m", False, "Cancelled"),
        ("b/m", True, None),
    ]
    assert sorted(ends(w)) == [("settled", "a"), ("settled", "b")]
    assert w.records[0].cost == sum(end[2] for end in w.purse.ends)
    assert w.circuits.excluded(1_001.0) == {}


async def test_without_a_wish_nothing_is_hedged(world):
    w = world(a=Provider(answer()), b=Provider())

    await w.chat()

    assert (w.slept, w.providers["b"].calls) == ([], 0)


async def test_the_operator_may_hedge_for_all(world):
    w = world(a=Provider(None), b=Provider(answer()))
    attempts = w.gateway._attempts
    attempts._policy = replace(attempts._policy, hedge_after=2.0)

    assert (await w.chat()).endpoint.provider == "b"
    assert w.slept == [2.0]


async def test_the_first_to_begin_its_stream_wins(world):
    w = world(a=Provider([None]), b=Provider([chunk("hi"), chunk(finish_reason="stop")]))

    reply = await w.chat(stream=True, **ASK)
    bodies = [body async for body in reply.chunks()]
    await reply.close()

    assert bodies[0]["choices"][0]["delta"]["content"] == "hi"
    assert w.providers["a"].closed == 1
    assert [attempt.error for attempt in w.records[0].attempts] == ["Cancelled", ""]
    assert (w.records[0].provider, w.records[0].status) == ("b", 200)
    assert w.purse.ends[0][1:3] == ("a", 5)  # its input alone: nothing came out of it


class Slow(Provider):
    """Answers when it is told to."""

    def __init__(self, *script):
        super().__init__(*script)
        self.told = asyncio.Event()

    async def complete(self, *asked):
        self.waiting.set()
        await self.told.wait()
        return await super().complete(*asked)


async def test_a_first_attempt_that_answers_after_all_wins_too(world):
    w = world(a=Slow(answer("first")), b=Provider(None))
    asking = asyncio.create_task(w.chat(**ASK))
    await w.providers["b"].waiting.wait()

    w.providers["a"].told.set()
    reply = await asking

    assert reply.endpoint.provider == "a"
    assert w.purse.ends[0] == ("settled", "a", 20, USAGE)
    assert ends(w) == [("settled", "a"), ("settled", "b")]
    assert [attempt["ok"] for attempt in reply.body["compass"]["attempts"]] == [True, False]
    assert "usage_estimated" not in reply.body["compass"]


async def test_a_second_attempt_that_fails_leaves_the_word_to_the_first(world):
    w = world(a=Slow(answer("first")), b=Provider(Overloaded("503")))
    asking = asyncio.create_task(w.chat(**ASK))
    await w.providers["a"].waiting.wait()
    await some_turns()

    w.providers["a"].told.set()

    assert (await asking).endpoint.provider == "a"
    assert sorted(ends(w)) == [("settled", "a"), ("voided", "req_1/1")]


async def test_where_both_fail_the_next_is_tried(world):
    w = world(
        a=Slow(Overloaded("503")), b=Slow(Overloaded("503")), c=Provider(answer()), attempts=3
    )
    asking = asyncio.create_task(w.chat(**ASK))
    for name in "ab":
        await w.providers[name].waiting.wait()
        w.providers[name].told.set()

    assert (await asking).endpoint.provider == "c"
    assert len(w.purse.ends) == 3


async def test_what_one_provider_rejects_the_other_may_still_answer(world):
    w = world(a=Slow(Rejected("no")), b=Slow(answer()))
    asking = asyncio.create_task(w.chat(**ASK))
    await w.providers["b"].waiting.wait()
    w.providers["a"].told.set()
    await some_turns()
    w.providers["b"].told.set()

    assert (await asking).endpoint.provider == "b"


async def test_two_attempts_count_as_two(world):
    w = world(a=Slow(Overloaded("503")), b=Slow(Overloaded("503")), c=Provider(), attempts=2)
    asking = asyncio.create_task(w.chat(**ASK))
    for name in "ab":
        await w.providers[name].waiting.wait()
        w.providers[name].told.set()

    with pytest.raises(AllAttemptsFailed):
        await asking

    assert w.providers["c"].calls == 0


async def test_a_hedge_needs_room_for_both_under_the_cost_limit(world):
    w = world(a=Slow(answer()), b=Provider())
    wish = {"hedge_after_s": 0.5, "max_cost_usd": "0.000300"}
    asking = asyncio.create_task(w.chat(compass=wish))
    await some_turns()
    w.providers["a"].told.set()

    assert (await asking).endpoint.provider == "a"
    assert w.providers["b"].calls == 0


@pytest.mark.parametrize("refusal", [BudgetExceeded("none", account="x"), LedgerUnavailable("?")])
async def test_a_hedge_that_cannot_be_paid_for_leaves_the_first_alone(world, refusal):
    w = world(a=Slow(answer()), b=Provider())
    admission = w.gateway._attempts._admission
    hold = admission.hold

    async def once(reservation, *asked):
        if reservation.endswith("/1"):
            raise refusal
        return await hold(reservation, *asked)

    admission.hold = once
    asking = asyncio.create_task(w.chat(**ASK))
    await some_turns()
    w.providers["a"].told.set()

    assert (await asking).endpoint.provider == "a"


async def test_hedges_are_bounded_as_retries_are(world):
    w = world(a=Provider(*[None] * 20), b=Provider(*[None] * 20))
    asking = [asyncio.create_task(w.chat(**ASK)) for _ in range(20)]
    await some_turns()

    assert w.providers["b"].calls == 4

    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert len(w.purse.ends) == 24
    assert w.gateway._attempts._retrying == w.gateway._attempts._in_progress == 0


async def test_a_caller_who_leaves_stops_both(world):
    w = world(a=Provider(None), b=Provider(None), left=1_000)
    asking = asyncio.create_task(w.chat(**ASK))
    await w.providers["b"].waiting.wait()

    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking

    assert sorted(ends(w)) == [("settled", "a"), ("settled", "b")]
    assert w.records[0].status == 499


async def test_of_two_answers_at_once_the_second_is_withdrawn():
    withdrawn = []

    async def withdraw(name):
        withdrawn.append(name)

    both = asyncio.Event()

    async def after_both(name):
        await both.wait()
        return name

    racing = asyncio.create_task(
        race(after_both("a"), lambda: after_both("b"), asyncio.sleep(0), withdraw)
    )
    await some_turns()
    both.set()

    assert await racing == "a"
    assert withdrawn == ["b"]


async def test_a_mistake_of_our_own_ends_the_race_and_the_other_attempt(world):
    w = world(a=Slow(KeyError()), b=Provider(None), endpoints=[endpoint("a"), endpoint("b")])
    asking = asyncio.create_task(w.chat(**ASK))
    await w.providers["b"].waiting.wait()
    w.providers["a"].told.set()

    with pytest.raises(KeyError):
        await asking

    assert sorted(ends(w)) == [("settled", "a"), ("settled", "b")]
    assert Usage() not in [end[3] for end in w.purse.ends]


class SlowToStop(Provider):
    """A call that is given up takes a while to end, as one that is cancelled upstream.

    `waiting` is set while it does.
    """

    async def stream(self, _request, _endpoint, state, _deadline):
        self.calls += 1
        state.sent = True
        try:
            await asyncio.Event().wait()
            yield
        finally:
            self.waiting.set()
            await some_turns()


async def test_who_leaves_while_the_loser_is_stopped_leaves_nothing_behind(world):
    slow = SlowToStop()
    quick = Provider([chunk("x"), chunk(finish_reason="stop", usage=USAGE)])
    places = Throttle({"b": Bounds(1, 1, 0.01)}, time.monotonic)
    w = world(a=slow, b=quick, throttle=places)

    asked = asyncio.create_task(w.chat(stream=True, **ASK))
    await slow.waiting.wait()  # b has begun to answer, a is being stopped
    asked.cancel()
    (outcome,) = await asyncio.gather(asked, return_exceptions=True)

    assert isinstance(outcome, asyncio.CancelledError)
    assert len(w.purse.ends) == 2
    assert quick.closed == 1
    assert places.loads()["b/m"].in_flight == 0
