from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.alerts import as_json, crossed, sentence
from compass_ray.types.money import Alert
from compass_ray.types.shifts import Shift, Stream

PERCENTS = st.lists(st.integers(1, 100), unique=True, max_size=5).map(sorted)


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**11), max_size=20), PERCENTS)
def test_each_threshold_is_told_once_and_when_it_is_reached(limit, costs, percents):
    told, spent = [], 0
    for cost in costs:
        told += crossed(limit, spent, spent + cost, percents)
        spent += cost

        assert told == [percent for percent in percents if spent * 100 >= limit * percent]


def test_a_budget_of_nothing_is_never_being_used_up():
    assert crossed(0, 0, 5, [50, 100]) == ()


def test_an_alert_says_whose_budget_of_what_and_when():
    alert = Alert("team@2026-11#tokens", "team", "tokens", 75, 80, 100, 5.0)

    assert sentence(alert) == "account 'team' has used 75 % of its tokens: 80 of 100 in 2026-11"
    assert as_json(alert) == {
        "kind": "budget",
        "id": "team@2026-11#tokens/75/100",
        "account": "team",
        "unit": "tokens",
        "window": "2026-11",
        "percent": 75,
        "spent": 80,
        "limit": 100,
        "at": 5.0,
    }


def test_drift_says_whose_answers_to_what_changed_in_what_and_by_how_much():
    shift = Shift(Stream("code", "a/m", "quality"), 0.8, 0.51234567, 120, 5.0)

    assert sentence(shift) == (
        "quality of a/m in code has drifted: 0.5123 in the last 120, 0.8 before"
    )
    assert as_json(shift) == {
        "kind": "drift",
        "id": "code/a/m/quality/5.000",
        "task_type": "code",
        "endpoint": "a/m",
        "trait": "quality",
        "was": 0.8,
        "now": 0.51234567,
        "values": 120,
        "at": 5.0,
    }
