import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.learned import shipped_model
from compass_ray.policy.belief import NOISE, belief, corrected, explorable, read
from compass_ray.policy.classify import classify
from compass_ray.policy.learn import Feedback, fresh, observe
from compass_ray.policy.quality import SCORES, expect
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Tier

MODEL = shipped_model()
RULES = shipped_rules()
TEXT = "Why is the sky blue, and when is it not?"
EXPECTATION = expect(TEXT, dict.fromkeys(SCORES, 1), MODEL)
X = read(EXPECTATION, MODEL)


def taught(outcomes, tier=Tier.FAST):
    learner = fresh(tuple(Tier), len(X), 10.0)
    for surplus in outcomes:
        learner = observe(learner, Feedback(tier, X, surplus))
    return {tier: belief(posterior) for tier, posterior in learner.items()}


def ask(text=TEXT, model="auto"):
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return ChatRequest(body, model, text, text, frozenset(), input_bytes=len(text))


def test_without_a_lesson_nothing_is_corrected():
    assert corrected(EXPECTATION, X, taught([])).foreseen == pytest.approx(EXPECTATION.quality)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_the_surplus_is_between_nothing_and_the_mean_outcome_and_of_that_tier_alone(outcomes):
    surplus = corrected(EXPECTATION, X, taught(outcomes)).surplus
    low, high = sorted((0.0, float(np.mean(outcomes))))

    assert low - 1e-9 <= surplus[Tier.FAST] <= high + 1e-9
    assert [surplus[tier] for tier in Tier if tier is not Tier.FAST] == [0.0] * 3


def test_judged_often_enough_the_outcomes_are_what_is_expected():
    outcome = 0.95 - EXPECTATION.quality[Tier.FAST]
    after = corrected(EXPECTATION, X, taught([outcome] * 500))

    assert after.foreseen[Tier.FAST] == pytest.approx(0.95, abs=0.01)
    assert after.quality == EXPECTATION.quality


@given(st.lists(st.floats(-1, 1), max_size=50), st.lists(st.floats(-9, 9), min_size=4, max_size=4))
def test_what_is_foreseen_stays_a_probability(outcomes, draws):
    normals = dict(zip(Tier, draws, strict=True))

    for one in (None, normals):
        foreseen = corrected(EXPECTATION, X, taught(outcomes), one).foreseen
        assert set(foreseen) == set(Tier)
        assert all(0 < quality < 1 for quality in foreseen.values())


@given(st.lists(st.floats(-1, 1), max_size=20))
def test_without_chance_a_draw_is_the_mean(outcomes):
    beliefs = taught(outcomes)
    drawn = corrected(EXPECTATION, X, beliefs, dict.fromkeys(Tier, 0.0))

    assert drawn.surplus == corrected(EXPECTATION, X, beliefs).surplus
    assert drawn.explored


def test_a_draw_strays_as_far_as_drawn_weights_would():
    beliefs = taught([0.1] * 5)
    drawn = corrected(EXPECTATION, X, beliefs, dict.fromkeys(Tier, 1.0)).surplus[Tier.FAST]
    chance = np.random.default_rng(7)
    weights = chance.multivariate_normal(
        beliefs[Tier.FAST].mean, NOISE**2 * beliefs[Tier.FAST].covariance, 20_000
    )

    mean = X @ beliefs[Tier.FAST].mean
    assert drawn - mean == pytest.approx((weights @ X).std(), rel=0.03)


def test_what_is_known_better_is_drawn_closer_to_the_mean():
    strays = [
        corrected(EXPECTATION, X, taught([0.0] * count), dict.fromkeys(Tier, 1.0)).surplus
        for count in (0, 500)
    ]

    assert strays[1][Tier.FAST] < strays[0][Tier.FAST] / 3
    assert strays[1][Tier.PREMIUM] == strays[0][Tier.PREMIUM]


def test_only_free_requests_where_a_mistake_is_bearable_may_be_experiments():
    usual = classify(ask(), RULES, model=MODEL)
    critical = classify(ask("This is safety-critical: which dose is right?"), RULES, model=MODEL)

    assert critical.accuracy == "critical"
    assert explorable(ask(), usual)
    assert not explorable(ask(model="gpt-4o"), usual)
    assert not explorable(ask(), critical)
    assert not explorable(ask(), classify(ask(), RULES))
