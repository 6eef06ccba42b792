from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.drift import DayUsage, drift

MODELS = {"gpt-4o": "gpt-4o", "gpt-4o-mini": "small", "sim-1": "sim"}
COUNTS = st.integers(0, 10**9)


def test_dated_names_are_those_of_the_longest_known_beginning():
    posted = [DayUsage("2026-11-01", "small", 100, 10, 5), DayUsage("2026-11-01", "gpt-4o", 7, 1)]
    reported = [
        DayUsage("2026-11-01", "gpt-4o-mini-2024-07-18", 60, 10),
        DayUsage("2026-11-01", "gpt-4o-mini", 40, 0),
        DayUsage("2026-11-01", "gpt-4o-2024-08-06", 7, 1),
    ]

    found = drift(posted, reported, MODELS)

    assert {(one.model, one.figure, one.share) for one in found} == {
        ("small", "input_tokens", 0.0),
        ("small", "output_tokens", 0.0),
        ("gpt-4o", "input_tokens", 0.0),
        ("gpt-4o", "output_tokens", 0.0),
    }


def test_what_only_one_side_knows_is_told():
    posted = [DayUsage("2026-11-01", "sim", 10, 1, 5), DayUsage("2026-11-09", "sim", 10, 1, 5)]
    reported = [DayUsage("2026-11-01", "other", 3, 0)]

    found = drift(posted, reported, MODELS)

    assert [(one.model, one.figure, one.posted, one.reported) for one in found] == [
        ("other", "input_tokens", 0, 3),
        ("sim", "input_tokens", 10, 0),
        ("sim", "output_tokens", 1, 0),
    ]
    assert [one.share for one in found] == [-1.0, float("inf"), float("inf")]


def test_a_sum_over_all_models_is_compared_with_all_models():
    posted = [DayUsage("2026-11-01", "a", 1, 1, 30), DayUsage("2026-11-01", "b", 1, 1, 80)]

    (found,) = drift(posted, [DayUsage("2026-11-01", "", cost=100)], MODELS)

    assert (found.model, found.figure, found.share) == ("", "cost", 0.1)


@given(st.lists(st.tuples(st.sampled_from(["1", "2"]), st.sampled_from(["a", "b"]), COUNTS)))
def test_what_agrees_has_no_drift_however_it_is_divided(rows):
    posted = [DayUsage(day, model, count, count, count) for day, model, count in rows]
    half = [DayUsage(d, m, n // 2, n // 2, n // 2) for d, m, n in rows]
    rest = [DayUsage(d, m, n - n // 2, n - n // 2, n - n // 2) for d, m, n in rows]

    assert all(one.share == 0 for one in drift(posted, half + rest, {"a": "a", "b": "b"}))
