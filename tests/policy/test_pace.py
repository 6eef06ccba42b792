"""Percentiles of how long answers take, followed step by step."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.pace import PERCENTILES, followed


@pytest.mark.parametrize("percentile", PERCENTILES.values())
@pytest.mark.parametrize("scale", [0.2, 1.0, 6.0])
def test_it_comes_to_lie_above_the_right_share_of_answers(percentile, scale):
    dice = random.Random(7)
    ratios = [scale * dice.lognormvariate(0.0, 0.5) for _ in range(4_000)]
    pace, below = 1.0, 0
    for seen, ratio in enumerate(ratios):
        below += seen >= 1_000 and ratio <= pace
        pace = followed(pace, ratio, percentile, seen)

    assert below / 3_000 == pytest.approx(percentile, abs=0.05)


def test_an_endpoint_that_becomes_three_times_as_slow_is_known_for_it_after_a_hundred_answers():
    pace = 1.0
    for seen in range(1_000, 1_100):
        pace = followed(pace, 3.0, 0.5, seen)

    assert pace > 2.5


@given(st.lists(st.floats(1e-9, 1e9), max_size=300))
def test_whatever_was_seen_it_stays_within_bounds(ratios):
    pace = 1.0
    for seen, ratio in enumerate(ratios):
        pace = followed(pace, ratio, 0.9, seen)

    assert 0.02 <= pace <= 50.0
