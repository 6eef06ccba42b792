from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.alerts import as_json, crossed, sentence
from compass_ray.types.money import Alert

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
        "id": "team@2026-11#tokens/75/100",
        "account": "team",
        "unit": "tokens",
        "window": "2026-11",
        "percent": 75,
        "spent": 80,
        "limit": 100,
        "at": 5.0,
    }
