"""Poor answers give way to a dearer model's: billed, bounded, explained, and never to an error."""

import asyncio
from dataclasses import replace

import numpy as np
import orjson
import pytest

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.policy.ladder import Escalation
from compass_ray.policy.trees import Forest
from compass_ray.policy.verifier import Verifier
from compass_ray.types.errors import InvalidRequest, Overloaded
from compass_ray.types.routing import Tier
from compass_ray.types.usage import Price

from .conftest import USAGE, Provider, answer, chunk, endpoint

ALWAYS = Escalation(always=True)
ASKED = Escalation()
REFUSAL = "I'm sorry, but I can't help with that."
COST = 20
LADDER = {"fast": Tier.FAST, "mid": Tier.BALANCED, "top": Tier.PREMIUM}


def ladder(world, *, escalation=ALWAYS, verifier=None, prices=None, **scripts):
    """Build a world with one endpoint a tier; `scripts` are what each of them says."""
    prices = prices or {}
    endpoints = [
        endpoint(name, tier=LADDER[name], price=prices.get(name, Price(1_000_000, 2_000_000)))
        for name in scripts
    ]
    providers = {name: Provider(*said) for name, said in scripts.items()}
    return world(endpoints=endpoints, escalation=escalation, verifier=verifier, **providers)


def told(reply):
    return reply.body["choices"][0]["message"]["content"]


def steps(reply):
    return [(one["endpoint"], one["outcome"]) for one in reply.body["compass"]["assessments"]]


async def test_a_good_answer_is_told_and_nobody_else_is_asked(world):
    w = ladder(world, fast=[answer()], mid=[])

    reply = await w.chat()

    assert told(reply) == "hello"
    assert steps(reply) == [("fast/m", "good")]
    assert w.providers["mid"].calls == 0
    assert w.records[0].cost == COST


async def test_a_refusal_climbs_to_the_next_tier_and_both_are_billed(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[answer("Done.")], top=[])

    reply = await w.chat()

    assert told(reply) == "Done."
    assert steps(reply) == [("fast/m", "escalated"), ("mid/m", "good")]
    first = reply.body["compass"]["assessments"][0]
    assert (first["tier"], first["score"], first["reasons"]) == (3, 0.3, ["refuses"])
    assert first["why"] == "to balanced"
    assert [end[:3] for end in w.purse.ends] == [
        ("settled", "fast", COST),
        ("settled", "mid", COST),
    ]
    assert reply.body["compass"]["cost_micro_usd"] == w.records[0].cost == 2 * COST
    assert w.records[0].provider == "mid"
    assert w.records[0].usage == USAGE + USAGE
    assert [one.outcome for one in w.records[0].assessments] == ["escalated", "good"]


def verifier(chance, task="simple_qa"):
    """Return one that finds every answer to such a task right with this probability."""
    tree = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32), np.zeros((2, 1), np.float32)
    return Verifier(Forest(*tree, np.array([chance], np.float32)), frozenset({task}))


REASONED = "Two and two are four, because one and one are two, and that twice is four. " * 3


async def test_of_a_short_answer_the_verifier_says_nothing(world):
    w = ladder(world, verifier=verifier(0.1), fast=[answer("4")], mid=[])

    assert told(await w.chat()) == "4"


async def test_an_answer_that_reads_wrong_climbs_to_the_next_tier(world):
    w = ladder(world, verifier=verifier(0.5), fast=[answer(REASONED)], mid=[answer("4")])

    reply = await w.chat()

    assert told(reply) == "4"
    first = reply.body["compass"]["assessments"][0]
    assert first["score"] == 0.5
    assert first["reasons"] == ["reads like one that is right in 50% of cases"]


async def test_an_answer_that_reads_right_stays(world):
    w = ladder(world, verifier=verifier(0.9), fast=[answer(REASONED)], mid=[])

    assert steps(await w.chat()) == [("fast/m", "good")]


async def test_a_verifier_says_nothing_of_tasks_it_has_not_learned(world):
    w = ladder(world, verifier=verifier(0.1, "math"), fast=[answer(REASONED)], mid=[])

    assert steps(await w.chat()) == [("fast/m", "good")]


async def test_two_poor_answers_climb_two_tiers(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[answer("")], top=[answer("Done.")])

    reply = await w.chat()

    assert told(reply) == "Done."
    assert [name for name, _ in steps(reply)] == ["fast/m", "mid/m", "top/m"]


async def test_a_tier_that_is_not_there_is_left_out(world):
    w = ladder(world, fast=[answer(REFUSAL)], top=[answer("Done.")])

    assert told(await w.chat()) == "Done."


async def test_the_better_of_two_answers_is_told(world):
    w = ladder(world, fast=[answer(REFUSAL)], top=[answer("")])

    reply = await w.chat()

    assert told(reply) == REFUSAL
    assert reply.endpoint.provider == "fast"
    assert w.records[0].cost == 2 * COST
    assert w.records[0].provider == "fast"


async def test_the_last_tier_s_answer_is_told_however_it_is(world):
    w = ladder(world, top=[answer(REFUSAL)])

    reply = await w.chat()

    assert (told(reply), steps(reply)) == (REFUSAL, [("top/m", "good")])


async def test_the_threshold_is_the_tier_s_own(world):
    fenced = "```python\nprint(1)"  # scores 0.5
    low = replace(ALWAYS, below={Tier.FAST: 0.5, Tier.BALANCED: 0.7})
    w = ladder(world, escalation=low, fast=[answer(fenced)], mid=[])

    assert steps(await w.chat()) == [("fast/m", "good")]


@pytest.mark.parametrize("failure", [Overloaded("503"), InvalidRequest("cannot say it")])
async def test_a_step_that_fails_leaves_the_first_answer(world, failure):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[failure] * 3)

    reply = await w.chat()

    assert told(reply) == REFUSAL
    (first,) = reply.body["compass"]["assessments"]
    assert first["outcome"] == "kept"
    assert first["why"].startswith("balanced: ")
    assert w.records[0].status == 200


class Draining(Provider):
    """Answers once, and leaves nothing in the purse."""

    purse = None

    async def complete(self, *asked):
        self.purse.left = 0
        return await super().complete(*asked)


async def test_a_budget_that_is_used_up_meanwhile_leaves_the_first_answer(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[])
    w.purse.left = 1_000_000
    w.providers["fast"].__class__ = Draining
    w.providers["fast"].purse = w.purse

    reply = await w.chat()

    assert told(reply) == REFUSAL
    assert "nothing left" in reply.body["compass"]["assessments"][0]["why"]


async def test_what_the_caller_lets_it_cost_bounds_the_step(world):
    dear = {"mid": Price(1_000_000_000, 2_000_000_000)}
    w = ladder(world, prices=dear, fast=[answer(REFUSAL)], mid=[])

    reply = await w.chat(compass={"max_cost_usd": 0.01})

    assert told(reply) == REFUSAL
    assert reply.job.cost <= 10_000
    assert w.providers["mid"].calls == 0


async def test_the_number_of_attempts_bounds_the_steps(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[])
    attempts = w.gateway._attempts
    attempts._policy = replace(attempts._policy, max_attempts=1)

    reply = await w.chat()

    assert (told(reply), w.providers["mid"].calls) == (REFUSAL, 0)


async def test_steps_come_out_of_the_replica_s_retry_budget(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[])
    attempts = w.gateway._attempts
    attempts._policy = replace(attempts._policy, budget=0.0, budget_floor=0)

    reply = await w.chat()

    assert (told(reply), w.providers["mid"].calls) == (REFUSAL, 0)
    assert "trying again" in reply.body["compass"]["assessments"][0]["why"]


async def test_a_pinned_model_stays(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[])

    reply = await w.chat(model="fast/m")

    assert told(reply) == REFUSAL
    assert "assessments" not in reply.body["compass"]


async def test_a_tier_that_was_asked_for_is_not_exceeded(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[], top=[])

    reply = await w.chat(compass={"tier": "fast"})

    assert steps(reply) == [("fast/m", "kept")]
    assert w.providers["mid"].calls == w.providers["top"].calls == 0


@pytest.mark.parametrize(
    ("escalation", "wish", "climbs"),
    [
        (ALWAYS, None, True),
        (ALWAYS, False, False),
        (ASKED, None, False),
        (ASKED, True, True),
    ],
)
async def test_operator_and_caller_say_whose_answers_are_looked_at(world, escalation, wish, climbs):
    w = ladder(world, escalation=escalation, fast=[answer(REFUSAL)], mid=[answer("Done.")])

    reply = await w.chat(compass={"escalate": wish})

    assert (told(reply) == "Done.") is climbs
    assert ("assessments" in reply.body["compass"]) is climbs


async def test_asking_where_nobody_escalates_is_refused_by_name(world):
    w = ladder(world, escalation=None, fast=[])

    with pytest.raises(InvalidRequest) as refused:
        await w.chat(compass={"escalate": True})

    assert refused.value.param == "compass.escalate"
    assert w.purse.ends == []


@pytest.mark.parametrize("field", ["escalate", "buffer"])
@pytest.mark.parametrize("value", [1, "yes", {}])
async def test_a_wish_that_is_neither_true_nor_false_is_refused_by_name(world, field, value):
    w = ladder(world, fast=[])

    with pytest.raises(InvalidRequest) as refused:
        await w.chat(compass={field: value})

    assert refused.value.param == f"compass.{field}"


async def collected(reply):
    try:
        return [body async for body in reply.chunks()]
    finally:
        await reply.close()


async def test_a_stream_is_told_as_it_comes(world):
    poor = [chunk(REFUSAL), chunk(finish_reason="stop", usage=USAGE)]
    w = ladder(world, fast=[poor], mid=[])

    bodies = await collected(await w.chat(stream=True))

    assert bodies[0]["choices"][0]["delta"]["content"] == REFUSAL
    assert w.providers["mid"].calls == 0


@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream_that_may_be_held_back_is_looked_at_first(world, usage):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[answer("Done.")])
    options = {"stream_options": {"include_usage": True}} if usage else {}

    reply = await w.chat(stream=True, compass={"buffer": True}, **options)
    assert reply.body is None
    bodies = await collected(reply)

    said = "".join(c["delta"].get("content", "") for b in bodies for c in b["choices"])
    assert said == "Done."
    assert [b["object"] for b in bodies] == ["chat.completion.chunk"] * len(bodies)
    about = bodies[-1]["compass"]
    assert [one["outcome"] for one in about["assessments"]] == ["escalated", "good"]
    assert (about["cost_micro_usd"], bodies[-1]["choices"] == []) == (2 * COST, usage)
    assert [(r.status, r.stream, r.provider) for r in w.records] == [(200, True, "mid")]
    assert w.records[0].ttft is not None
    assert all("stream" not in one.body for one in w.providers["fast"].requests)


async def test_a_caller_who_leaves_meanwhile_pays_for_both_and_no_more(world):
    w = ladder(world, fast=[answer(REFUSAL)], mid=[None])
    asking = asyncio.create_task(w.chat())
    await w.providers["mid"].waiting.wait()

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert [end[:2] for end in w.purse.ends] == [("settled", "fast"), ("settled", "mid")]
    assert w.records[0].status == 499
    assert w.gateway._recorder.in_progress == 0


JUDGED = replace(ALWAYS, judge="top/m")


async def test_a_judge_s_low_verdict_escalates_and_is_billed(world):
    w = ladder(
        world,
        escalation=JUDGED,
        fast=[answer("Two and two is five.")],
        mid=[answer("Four.")],
        top=[answer('{"score": 1}')],
    )

    reply = await w.chat()

    assert told(reply) == "Four."
    first, second = reply.body["compass"]["assessments"]
    assert (first["score"], first["reasons"]) == (0.1, ["judge top/m: 0.1"])
    assert second["reasons"] == ["judge top/m: NoEndpoint"]  # no attempt is left for it
    assert [end[1] for end in w.purse.ends] == ["fast", "top", "mid"]
    assert w.records[0].cost == 3 * COST
    asked = w.providers["top"].requests[0]
    assert "Two and two is five." in asked.text
    assert asked.max_output_tokens == 64


async def test_a_high_verdict_leaves_the_answer(world):
    w = ladder(world, escalation=JUDGED, fast=[answer()], mid=[], top=[answer('{"score": 9}')])

    reply = await w.chat()

    assert (told(reply), steps(reply)) == ("hello", [("fast/m", "good")])


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (answer("I would say 2 out of 10"), "no verdict"),
        (answer(None), "no verdict"),
        (Overloaded("503"), "AllAttemptsFailed"),
    ],
)
async def test_a_judge_who_says_nothing_that_can_be_read_changes_nothing(world, verdict, reason):
    w = ladder(world, escalation=JUDGED, fast=[answer()], top=[verdict] * 3)

    reply = await w.chat()

    assert told(reply) == "hello"
    assert reply.body["compass"]["assessments"][0]["score"] == 1.0
    assert reply.body["compass"]["assessments"][0]["reasons"] == [f"judge top/m: {reason}"]


async def test_nobody_judges_whom_the_caller_would_not_be_answered_by(world):
    w = ladder(world, escalation=JUDGED, fast=[answer()], top=[])

    reply = await w.chat(compass={"providers": ["fast"]})

    assert told(reply) == "hello"
    assert w.providers["top"].calls == 0


async def test_a_poor_answer_needs_no_judge(world):
    w = ladder(world, escalation=JUDGED, fast=[answer("")], mid=[answer("x")], top=[answer("")])

    reply = await w.chat()

    assert [end[1] for end in w.purse.ends] == ["fast", "mid", "top"]
    assert reply.endpoint.provider == "mid"


HARD = [{"role": "user", "content": "Prove step by step that every ledger adds up."}]


async def answered_by(w, times=1):
    """Return who was asked for each of so many hard questions, in order."""
    replies = [await w.chat(messages=HARD, max_tokens=None) for _ in range(times)]
    return ["+".join(one for one, _ in steps(reply)) for reply in replies]


async def test_where_premium_is_dear_and_does_well_balanced_is_asked_first(world):
    dear = Price(1_000_000, 100_000_000)
    said = [answer("Done.")] * 13
    w = ladder(world, mid=said, top=said, prices={"top": dear})

    asked = await answered_by(w, 12)
    decision = w.gateway.decide(
        parse(orjson.dumps({"model": "auto", "messages": HARD}), Limits(), {}),
        w.gateway.authenticate(None),
    )

    first = asked.index("mid/m")
    assert set(asked[:first]) == {"top/m"}
    assert 8 <= first <= 10
    assert set(asked[first:]) == {"mid/m"}
    assert "premium's answers to reasoning score 1.00" in decision.classification.reasons[-1]


async def test_balanced_that_fails_in_premium_s_place_is_given_up_and_then_left_alone(world):
    dear = Price(1_000_000, 100_000_000)
    said = [answer("Done.")] * 40
    w = ladder(world, mid=[answer(REFUSAL)] * 40, top=said, prices={"top": dear})

    asked = await answered_by(w, 30)

    assert "mid/m+top/m" in asked
    assert asked[-1] == "top/m"
    assert asked.count("mid/m") == 0


async def test_premium_that_is_not_dear_stays(world):
    said = [answer("Done.")] * 20
    w = ladder(world, mid=said, top=said)

    assert set(await answered_by(w, 20)) == {"top/m"}
