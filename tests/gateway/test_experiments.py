"""Experiments on the path of requests: who is in which arm is decided as its plan says."""

import json
from dataclasses import replace

import pytest

from compass_ray.gateway.experiments import Experiments
from compass_ray.policy.belief import Taught
from compass_ray.policy.columns import Weights
from compass_ray.policy.plan import Plan
from compass_ray.policy.select import explain
from compass_ray.types.experiments import Experiment
from compass_ray.types.routing import Tier

from .conftest import PRICE, Provider, answer, endpoint

ONE = Experiment("one", "d1", 0.5, "user", "quality", 0.05)
TWO = Experiment("two", "d2", 0.5, "user", "quality", 0.05)
SKILLED = dict.fromkeys(("reasoning", "coding", "creative", "math", "multilingual"), 5)
COST = Plan(Weights(0, 0, 0, 1, 0))
USERS = [f"u{n}" for n in range(12)]


@pytest.fixture
def tried(world):
    """Build a gateway on which experiments run; by default quality decides, then cost."""

    def build(*known, running=("d1", "d2")):
        dear = endpoint("dear", skills=SKILLED, price=PRICE, tier=Tier.FAST)
        cheap = endpoint(
            "cheap", "other", price=type(PRICE)(1, 1), skills=dict.fromkeys(SKILLED, 1)
        )
        w = world(
            dear=Provider(*[answer()] * 50),
            cheap=Provider(*[answer()] * 50),
            endpoints=[dear, cheap],
        )
        settings = w.gateway._settings
        plan = Plan(Weights(1, 0, 0, 0, 0))
        w.gateway._settings = type(settings)(
            **{name: getattr(settings, name) for name in settings.__slots__ if name != "plan"},
            plan=plan,
        )
        experiments = Experiments(known or ((ONE, COST),))
        experiments.hear(Taught(running=frozenset(running)))
        w.gateway._experiments = experiments
        return w, experiments

    return build


async def test_the_variant_is_decided_by_its_own_plan_and_the_control_as_ever(tried):
    w, _ = tried()
    replies = [await w.chat(user=user) for user in USERS]

    chosen = {(reply.job.decision.arm.name, reply.endpoint.provider) for reply in replies}
    assert chosen == {("variant", "cheap"), ("control", "dear")}


async def test_a_user_stays_in_an_arm(tried):
    w, _ = tried()
    arms = [[(await w.chat(user=user)).job.decision.arm for user in USERS] for _ in range(2)]

    assert arms[0] == arms[1]


async def test_who_names_no_user_goes_by_the_account(tried):
    w, _ = tried()
    arms = {(await w.chat(**fields)).job.decision.arm for fields in ({}, {"user": ""}, {})}

    assert len(arms) == 1


async def test_requests_may_be_assigned_each_on_its_own(tried):
    w, _ = tried((Experiment("one", "d1", 0.5, "request", "cost", 0.05), COST))
    arms = [(await w.chat(user="u")).job.decision.arm for _ in range(12)]

    assert {arm.name for arm in arms} == {"control", "variant"}
    assert {arm.unit for arm in arms} == {""}
    assert w.gateway.dry_run(body(), w.gateway.authenticate(None)).arm is None


async def test_a_dry_run_shows_the_arm(tried):
    w, _ = tried()
    told = explain(w.gateway.dry_run(body("u1"), w.gateway.authenticate(None)))
    arm = (await w.chat(user="u1")).job.decision.arm

    assert told["experiment"] == {"name": "one", "arm": arm.name}


async def test_until_the_learner_was_heard_nobody_takes_part(tried):
    w, experiments = tried(running=())
    before = await w.chat(user="u1")
    experiments.hear(Taught(running=frozenset({"d1"})))
    during = await w.chat(user="u1")
    experiments.hear(Taught(running=frozenset({"of another configuration"})))
    after = await w.chat(user="u1")

    assert [reply.job.decision.arm is None for reply in (before, during, after)] == [
        True,
        False,
        True,
    ]
    assert explain(before.job.decision)["experiment"] is None


async def test_a_request_is_in_the_first_experiment_that_has_a_place_for_it(tried):
    small = Experiment("one", "d1", 0.2, "user", "quality", 0.05)
    w, _ = tried((small, COST), (TWO, COST))
    names = [(await w.chat(user=f"u{n}")).job.decision.arm.experiment for n in range(40)]

    assert 8 <= names.count("one") <= 24
    assert names.count("one") + names.count("two") == 40


async def test_a_task_s_tier_can_be_what_differs(tried):
    plan = Plan(Weights(1, 0, 0, 0, 0), tiers={"simple_qa": Tier.PREMIUM})
    w, _ = tried((ONE, plan))
    tiers = {}
    for user in USERS:
        decision = (await w.chat(user=user)).job.decision
        tiers[decision.arm.name] = decision.classification.tier

    assert tiers == {"control": Tier.FAST, "variant": Tier.PREMIUM}


def body(user="u"):
    messages = [{"role": "user", "content": "hi"}]
    return json.dumps({"model": "auto", "messages": messages, "user": user}).encode()


async def test_an_account_with_weights_of_its_own_goes_by_them_and_takes_no_part(tried):
    w, _ = tried()
    w.gateway._settings = replace(w.gateway._settings, plans={"open": COST})

    replies = [await w.chat(user=user) for user in USERS]

    assert {(reply.job.decision.arm, reply.endpoint.provider) for reply in replies} == {
        (None, "cheap")
    }
