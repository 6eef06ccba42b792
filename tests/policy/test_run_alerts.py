"""What is told of a run's budget while it is used up."""

from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.run_alerts import RunAlerts


@given(
    st.integers(1, 10_000),
    st.sets(st.integers(1, 100)).map(sorted),
    st.lists(st.integers(0, 5_000), max_size=20),
)
def test_each_threshold_is_told_once_when_it_is_reached(budget, percents, costs):
    alerts, told, spent = RunAlerts(budget, percents), [], 0
    for cost in costs:
        spent += cost
        due = alerts.due(spent, 1.0)
        assert alerts.due(spent, 1.0) == due
        for event in due:
            alerts.apply(event)
        told += due
        assert alerts.due(spent, 1.0) == ()

    reached = [percent / 100 for percent in percents if spent * 100 >= budget * percent]
    assert [event.share for event in told] == reached
    assert alerts.used == (reached[-1] if reached else 0.0)


def test_without_a_budget_nothing_is_told():
    assert RunAlerts(None, (50,)).due(10**9, 1.0) == ()
