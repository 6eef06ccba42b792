import pytest

from compass_ray.policy.classify import classify
from compass_ray.policy.columns import Weights
from compass_ray.policy.plan import Plan, planned
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Preferences, Tier

RULES = shipped_rules()
PLAN = Plan(Weights(), tiers={"code": Tier.PREMIUM})


def ask(text="Write a python function.", model="auto", **wishes):
    return ChatRequest(
        body={"messages": []},
        model=model,
        text=text,
        last_user_text=text,
        needs=frozenset(),
        preferences=Preferences(**wishes),
    )


def seen_by(request, plan=PLAN):
    return planned(request, classify(request, RULES), plan)


def test_a_task_gets_its_plan_s_tier_and_is_told_so():
    seen = seen_by(ask())

    assert seen.tier is Tier.PREMIUM
    assert seen.reasons[-1] == "tier 1 (premium), the experiment's for code"


@pytest.mark.parametrize(
    "request_",
    [
        ask("Why is the sky blue?"),
        ask(model="a/m"),
        ask(tier=Tier.FAST),
        ask("Write a python function, it is mission-critical."),
    ],
    ids=["another task", "a pinned model", "the caller's tier", "critical accuracy"],
)
def test_what_has_the_last_word_keeps_it(request_):
    seen = classify(request_, RULES)

    assert planned(request_, seen, PLAN) is seen


@pytest.mark.parametrize(("used", "cost"), [(0.0, 0.1), (0.5, 0.2), (0.95, 0.3)])
def test_the_more_is_used_the_thriftier_the_weights(used, cost):
    steps = [(share, Weights(cost=weight)) for share, weight in ((0.5, 0.2), (0.9, 0.3))]

    assert Plan(Weights(cost=0.1), steps).weights_at(used).cost == cost
