import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.trees import Forest

STUMPS = Forest(
    features=np.array([[0, 1], [1, 1]]),
    thresholds=np.array([[0.5, 2.0], [1.0, 3.0]], np.float32),
    leaves=np.array([[0], [1], [2], [3], [0], [10], [20], [30]], np.float32),
    start=np.array([100], np.float32),
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0, 0), 100), ((1, 0), 101), ((0, 2.5), 112), ((1, 2.5), 113), ((1, 9), 133)],
)
def test_answers_spell_the_leaf_and_leaves_are_summed(values, expected):
    assert STUMPS.predict(np.array(values, np.float32)).tolist() == [expected]


@given(st.lists(st.floats(width=32), min_size=2, max_size=2))
def test_any_value_leads_to_a_leaf(values):
    assert 100 <= STUMPS.predict(np.array(values, np.float32))[0] <= 133
