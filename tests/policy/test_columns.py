from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy import columns
from compass_ray.types.routing import Endpoint, Tier


def endpoint(tier, stars, **fields):
    skills = dict.fromkeys(("reasoning", "coding", "creative", "math", "multilingual"), stars)
    return Endpoint(
        provider="p",
        model="m",
        wire_model="m",
        tier=tier,
        context_window=1000,
        max_output_tokens=100,
        skills=skills,
        **fields,
    )


def test_the_weights_are_the_documents_and_sum_to_one():
    weights = columns.Weights()

    assert (weights.complexity, weights.tokens, weights.latency) == (0.30, 0.25, 0.20)
    assert (weights.cost, weights.accuracy) == (0.15, 0.10)


@pytest.mark.parametrize(
    ("asked", "task", "best_to_worst"),
    [
        (Tier.PREMIUM, "reasoning", [Tier.PREMIUM, Tier.BALANCED, Tier.FAST]),
        (Tier.BALANCED, "creative", [Tier.BALANCED, Tier.PREMIUM, Tier.SPECIALIZED, Tier.FAST]),
        (Tier.FAST, "simple_qa", [Tier.FAST, Tier.BALANCED, Tier.PREMIUM, Tier.SPECIALIZED]),
        (Tier.SPECIALIZED, "code", [Tier.SPECIALIZED, Tier.BALANCED, Tier.PREMIUM, Tier.FAST]),
    ],
)
def test_the_asked_tier_fits_best_and_a_neighbour_next(asked, task, best_to_worst):
    fits = [columns.complexity(endpoint(tier, 5), task, asked) for tier in best_to_worst]

    assert fits[0] == 1.0
    assert fits == sorted(fits, reverse=True)
    assert len(set(fits)) == len(fits)


def test_too_few_stars_for_a_tier_fit_worse():
    weak, strong = (
        columns.complexity(endpoint(Tier.FAST, n), "simple_qa", Tier.FAST) for n in (1, 3)
    )

    assert weak < strong == 1.0


def test_accuracy_asks_for_strength_only_where_it_is_critical():
    fast, premium = endpoint(Tier.FAST, 5), endpoint(Tier.PREMIUM, 5)

    assert columns.accuracy(fast, "math", "critical") < columns.accuracy(
        premium, "math", "critical"
    )
    assert columns.accuracy(fast, "math", "normal") == columns.accuracy(premium, "math", "normal")
    assert columns.accuracy(endpoint(Tier.FAST, 1), "math", "exploratory") == 1.0


def test_a_stream_is_awaited_only_for_its_first_lines():
    outputs = np.array([1000.0, 10.0])

    assert columns.seconds(1.0, 0.1, outputs, stream=False) == pytest.approx([101.0, 2.0])
    assert columns.seconds(1.0, 0.1, outputs, stream=True) == pytest.approx([7.4, 2.0])


def test_time_matters_most_in_real_time_and_not_at_all_in_a_batch():
    real_time, normal, batch = (
        columns.latency(4.0, 1.0, urgency) for urgency in ("real-time", "normal", "batch")
    )

    assert real_time == 0.25
    assert real_time < normal < batch == 1.0


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_the_cost_column_falls_with_cost_and_stays_in_bounds(cost, ceiling):
    column = columns.cost(cost, ceiling)

    assert 0.0 <= columns.cost(cost + 1, ceiling) <= column <= 1.0


def test_an_unknown_cost_has_the_worst_column():
    assert columns.cost(np.array([nan]), 100) == [0.0]
    assert columns.cost(np.array([nan]), 0) == [0.0]
