import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Bar, added, added_ratio, median_over, percentile, ratio


def rounds_of(**systems):
    """Build rounds from one list of values a system, of one figure of one scenario."""
    return [
        {system: {"load": {"ms": value}} for system, value in zip(systems, values, strict=True)}
        for values in zip(*systems.values(), strict=True)
    ]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)]
)
def test_a_percentile_is_the_nearest_rank(share, expected):
    samples = list(range(100, 0, -1))

    assert percentile(samples, share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(samples, share):
    found = percentile(samples, share)

    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples)


def test_no_sample_has_no_percentile():
    with pytest.raises(ValueError, match="no sample"):
        percentile([], 0.5)


def test_differences_and_ratios_are_taken_within_a_round():
    # The machine is ten times slower in the second round: across rounds, the medians would lie.
    rounds = rounds_of(direct=[1.0, 10.0], compass=[2.0, 10.5], litellm=[5.0, 50.0])

    assert added(rounds, "compass", "direct", "load", "ms") == 0.75
    assert ratio(rounds, "litellm", "direct", "load", "ms") == 5.0
    assert added_ratio(rounds, "compass", "litellm", "load", "ms", base="direct") == 0.13125


def test_a_competitor_that_adds_nothing_is_not_beaten():
    rounds = rounds_of(direct=[1.0], compass=[1.5], litellm=[1.0])

    assert added_ratio(rounds, "compass", "litellm", "load", "ms", base="direct") == float("inf")


def test_one_slow_round_does_not_move_the_median():
    rounds = rounds_of(direct=[1.0, 900.0, 1.2])

    assert median_over(rounds, "direct", "load", "ms") == 1.2


def test_a_figure_that_was_not_measured_is_none():
    assert median_over(rounds_of(direct=[1.0]), "direct", "load", "cpu") is None


@pytest.mark.parametrize(
    ("measured", "at_least", "met"), [(2.0, False, True), (2.1, False, False), (2.1, True, True)]
)
def test_a_bar_is_a_limit_from_above_or_from_below(measured, at_least, met):
    assert Bar("added", measured, 2.0, "ms", at_least=at_least).met is met
