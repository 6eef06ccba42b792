import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.training.measure import apgr, calibration_error, s95

STRONG = np.array([1.0, 1.0, 1.0, 1.0])
WEAK = np.array([0.0, 0.0, 1.0, 1.0])


def test_a_perfect_order_recovers_the_gap_first():
    assert apgr(np.array([4.0, 3.0, 2.0, 1.0]), STRONG, WEAK) == pytest.approx(0.75)
    assert apgr(np.array([1.0, 2.0, 3.0, 4.0]), STRONG, WEAK) == pytest.approx(0.25)


@given(st.permutations(range(4)))
def test_a_score_that_says_nothing_is_chance_in_any_order_of_rows(order):
    order = list(order)

    assert apgr(np.zeros(4), STRONG[order], WEAK[order]) == pytest.approx(0.5)


def test_the_saving_is_of_the_cheapest_point_that_is_good_enough():
    score = np.array([4.0, 3.0, 2.0, 1.0])
    ones, dear = np.full(4, 0.1), np.full(4, 1.0)

    assert s95(score, STRONG, WEAK, dear=dear, cheap=ones, always=4.0) == pytest.approx(0.45)
    assert s95(-score, STRONG, WEAK, dear=dear, cheap=ones, always=4.0) == pytest.approx(0.0)


def test_a_calibrated_prediction_has_no_error():
    truth = np.array([1.0, 0.0, 1.0, 0.0])

    assert calibration_error(np.full(4, 0.5), truth) == 0
    assert calibration_error(np.full(4, 0.9), truth) == pytest.approx(0.4)
