import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.learn import Feedback, fresh, observe, sample, standardised
from compass_ray.types.routing import Tier

TIERS = (Tier.FAST, Tier.PREMIUM)


def taught(weights, count, penalty=1.0, seed=0):
    chance = np.random.default_rng(seed)
    learner = fresh(TIERS, len(weights), penalty)
    for _ in range(count):
        x = chance.standard_normal(len(weights))
        learner = observe(learner, Feedback(Tier.FAST, x, float(x @ weights)))
    return learner


def test_who_has_seen_nothing_expects_no_surplus():
    learner = fresh(TIERS, 3, 2.0)

    assert all(one.mean.tolist() == [0, 0, 0] and one.seen == 0 for one in learner.values())


def test_what_is_observed_is_believed_of_that_tier_alone():
    learner = taught([0.5, -0.25], 500)

    assert learner[Tier.FAST].mean == pytest.approx([0.5, -0.25], abs=0.01)
    assert learner[Tier.FAST].seen == 500
    assert learner[Tier.PREMIUM].mean.tolist() == [0, 0]


def test_observing_leaves_the_learner_of_before_as_it_was():
    before = fresh(TIERS, 2, 1.0)
    observe(before, Feedback(Tier.FAST, np.ones(2), 1.0))

    assert before[Tier.FAST].mean.tolist() == [0, 0]


def test_draws_come_closer_the_more_was_seen():
    chance = np.random.default_rng(1)
    little, much = (
        np.std(
            [sample(taught([0.3], n)[Tier.FAST], chance.standard_normal(1), 0.4) for _ in "x" * 99]
        )
        for n in (5, 500)
    )

    assert much < little / 3


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_without_chance_a_draw_is_the_mean(weights):
    known = taught(weights, 20)[Tier.FAST]

    assert sample(known, np.zeros(3), 0.4) == pytest.approx(known.mean)


def test_features_are_on_one_scale_and_an_outlier_counts_little():
    values = np.array([10.0, 1e9, 5.0, 0.0], np.float32)
    scaled = standardised(values, np.array([8.0, 0.0, 5.0, 0.0]), np.array([2.0, 1.0, 1.0, 1.0]))

    assert scaled.tolist() == [1.0, 0.5, 2.0, 0.0, 0.0]


def test_a_draw_is_as_far_from_the_mean_as_noise_and_knowledge_say():
    nothing = fresh(TIERS, 2, 4.0)[Tier.FAST]

    assert sample(nothing, np.array([1.0, -2.0]), 0.4) == pytest.approx([0.2, -0.4])
