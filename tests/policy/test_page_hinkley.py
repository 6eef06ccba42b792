"""A stream that stays as it is raises no alarm; one that changes raises one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.page_hinkley import REFERENCE, observed, traits
from compass_ray.types.decisions import Called, Outcome
from compass_ray.types.shifts import Level


def shares(p):
    return lambda chance, count: (chance.random(count) < p).astype(float)


def amounts(mean, spread):
    return lambda chance, count: chance.lognormal(mean, spread, count)


def watched(trait, values, level=None):
    """Return after how many values what was found."""
    found, level = [], level or Level()
    for n, value in enumerate(values, 1):
        level, shift = observed(level, trait, float(value))
        if shift is not None:
            found.append((n, shift))
    return found


@pytest.mark.parametrize(
    ("trait", "draw"),
    [
        ("errors", shares(0.0)),
        ("errors", shares(0.01)),
        ("errors", shares(0.2)),
        ("quality", shares(0.7)),
        ("quality", lambda chance, count: chance.beta(5, 2, count)),
        ("latency", amounts(0.0, 0.7)),
        ("latency", lambda chance, count: chance.pareto(1.5, count)),
        ("output_tokens", amounts(5.0, 1.0)),
    ],
)
def test_what_stays_as_it_is_raises_no_alarm_in_a_hundred_thousand_values(trait, draw):
    chance = np.random.default_rng(1)

    assert [watched(trait, draw(chance, 10_000)) for _ in range(10)] == [[]] * 10


@pytest.mark.parametrize(
    ("trait", "before", "after", "within"),
    [
        ("errors", shares(0.01), shares(0.3), 100),
        ("errors", shares(0.01), shares(0.1), 1_000),
        ("errors", shares(0.5), shares(0.05), 200),
        ("quality", shares(0.8), shares(0.5), 200),
        ("quality", shares(0.6), shares(0.9), 400),
        ("latency", amounts(0.0, 0.7), amounts(0.7, 0.7), 100),
        ("output_tokens", amounts(5.0, 1.0), amounts(5.7, 1.0), 250),
    ],
)
def test_what_changes_is_found_soon_and_told_once(trait, before, after, within):
    for seed in range(10):
        chance = np.random.default_rng(seed)
        values = np.concatenate([before(chance, 1_000), after(chance, 3_000)])

        ((when, (was, now, count)),) = watched(trait, values)

        assert 1_000 < when <= 1_000 + within
        assert count <= within + 100
        assert (was < now) == (values[:1_000].mean() < values[1_000:].mean())


def test_the_means_before_and_since_are_told_in_the_values_own_unit():
    ((when, (was, now, count)),) = watched("latency", [1.0] * REFERENCE + [3.0] * 100)

    assert (was, now) == (pytest.approx(1.0), pytest.approx(3.0))
    assert count == when - REFERENCE


def test_a_few_wild_values_are_no_drift():
    assert watched("latency", [1.0] * REFERENCE + ([1.0] * 20 + [10_000.0]) * 100) == []


@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=400), st.sampled_from(["latency", "quality"])
)
def test_no_values_break_it_and_nothing_is_said_while_there_is_no_reference(values, trait):
    found = watched(trait, values)

    assert all(when > REFERENCE for when, _ in found)


def test_an_outcome_says_something_of_everybody_who_was_called():
    calls = (Called("a/m", ok=False, seconds=8.0), Called("b/m", ok=True, seconds=1.0))
    outcome = Outcome("code", "b/m", 200, 20, 9.0, 5, calls)

    assert [(*stream[1:], value) for stream, value in traits(outcome)] == [
        ("a/m", "errors", 1.0),
        ("b/m", "errors", 0.0),
        ("b/m", "latency", 1.0),
    ]


def test_an_answer_at_the_first_call_says_how_long_it_was():
    outcome = Outcome("code", "a/m", 200, 20, 1.0, 5, (Called("a/m", ok=True, seconds=1.0),))

    assert dict(traits(outcome))["code", "a/m", "output_tokens"] == 5.0
