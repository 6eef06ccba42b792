"""Who looks at any time is fooled no more often than alpha, and finds what is there."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.sequential import FEWEST, Part, added, difference, level, one_by_one
from compass_ray.types.experiments import Tally

ALPHA = 0.05
LOOK_EVERY = 5


def shares(p):
    return lambda chance, n: (chance.random(n) < p).astype(float)


def amounts(spread, mean=0.0):
    return lambda chance, n: chance.lognormal(mean, spread, n)


def peeked(variant, control, units, *, scale, seed, size=1):
    """Return at how many units of each arm a difference is found, None where none is.

    Units have `size` values each; `scale` None takes the control's mean.
    """
    chance = np.random.default_rng(seed)
    drawn = [draw(chance, units) for draw in (variant, control)]
    tallies = [Tally(), Tally()]
    for n in range(units):
        for arm in range(2):
            part = Part()
            for _ in range(size):
                tallies[arm], part = added(tallies[arm], part, drawn[arm][n])
        if n % LOOK_EVERY == 0:
            by = tallies[1].mean if scale is None else scale
            found = difference(*tallies, ALPHA, by)
            if found.low > 0 or found.high < 0:
                return n
    return None


@pytest.mark.parametrize(
    ("draw", "scale", "size"),
    [
        (shares(0.5), 1.0, 1),
        (shares(0.9), 1.0, 1),
        (shares(0.01), 1.0, 1),
        (amounts(1.5), None, 1),
        (shares(0.5), 1.0, 5),  # users who ask five times and always think the same
    ],
)
def test_where_there_is_no_difference_one_is_seldom_found_however_often_one_looks(
    draw, scale, size
):
    runs = 200
    alarms = sum(
        peeked(draw, draw, 1_000, scale=scale, seed=seed, size=size) is not None
        for seed in range(runs)
    )

    # With probability 0.05 each, more than 18 of 200 come once in 200 such tests.
    assert alarms <= 18


def test_who_took_each_request_for_a_unit_would_be_fooled_by_those_who_ask_often():
    alarms = 0
    for seed in range(40):
        chance = np.random.default_rng(seed)
        tallies = [Tally(), Tally()]
        for _ in range(200):
            for arm in range(2):
                value = float(chance.random() < 0.5)
                for _ in range(20):
                    tallies[arm], _ = added(tallies[arm], Part(), value)
            found = difference(*tallies, ALPHA, 1.0)
            if found.low > 0 or found.high < 0:
                alarms += 1
                break

    assert alarms > 20


@pytest.mark.parametrize(
    ("better", "worse", "scale", "within"),
    [
        (shares(0.8), shares(0.7), 1.0, 1_500),
        (shares(0.75), shares(0.7), 1.0, 6_000),
        (amounts(1.0, 0.2), amounts(1.0), None, 2_500),
    ],
)
def test_a_real_difference_is_found(better, worse, scale, within):
    found = [peeked(better, worse, within, scale=scale, seed=seed) for seed in range(10)]

    assert sum(one is not None for one in found) >= 9


values = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), min_size=1, max_size=60)


@given(values)
def test_sums_are_those_of_all_values_by_unit(told):
    tally, parts = Tally(), {}
    for unit, value in told:
        tally, parts[unit] = added(tally, parts.get(unit, Part()), value)

    by_unit = [[value for one, value in told if one == unit] for unit in parts]
    assert (tally.units, tally.values) == (len(by_unit), len(told))
    assert tally.total == pytest.approx(sum(map(sum, by_unit)))
    assert tally.squares == pytest.approx(sum(sum(part) ** 2 for part in by_unit), abs=1e-9)
    assert tally.products == pytest.approx(sum(sum(p) * len(p) for p in by_unit), abs=1e-9)
    assert tally.sizes == sum(len(part) ** 2 for part in by_unit)
    assert one_by_one(tally).squares == pytest.approx(sum(v * v for _, v in told), abs=1e-9)


@given(values)
def test_an_interval_holds_its_estimate_and_nothing_is_said_of_few(told):
    tally = Tally()
    for _, value in told:
        tally, _ = added(tally, Part(), value)
    found = level(tally, ALPHA, 1.0)

    assert found.low <= found.estimate <= found.high
    assert math.isfinite(found.low) == (len(told) >= FEWEST)


def test_where_all_are_the_same_the_next_may_still_be_another():
    tally = Tally()
    for _ in range(FEWEST):
        tally, _ = added(tally, Part(), 1.0)

    assert level(tally, ALPHA, 1.0).low < 0.9
