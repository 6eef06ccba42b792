import pickle

import pytest

from compass_ray.policy.verdict import SUCCESS, judge
from compass_ray.types import errors


@pytest.mark.parametrize(
    ("error", "weight", "counted"),
    [
        (None, "success", "success"),
        (errors.InvalidRequest("x"), "neutral", "neutral"),
        (errors.Rejected("content filter"), "neutral", "neutral"),
        (errors.BudgetExceeded("x", account="a"), "neutral", "neutral"),
        (errors.NoEndpoint("x"), "neutral", "neutral"),
        (errors.LedgerUnavailable("x"), "neutral", "neutral"),
        (errors.ConfigError("x"), "neutral", "neutral"),
        (errors.RateLimited("x", retry_after=3.0), "cooldown", "neutral"),
        (errors.QuotaExhausted("x"), "fatal", "failure"),
        (errors.ProviderAuthFailed("x"), "fatal", "failure"),
        (errors.Overloaded("x"), "failure", "failure"),
        (errors.ProviderFault("x"), "failure", "failure"),
        (errors.ProviderTimeout("x", phase="idle"), "failure", "failure"),
        (errors.ProviderUnreachable("x"), "failure", "failure"),
        (errors.BadAnswer("x"), "failure", "failure"),
        (errors.BrokenStream("x"), "failure", "failure"),
    ],
)
def test_each_error_weighs_what_the_table_says(error, weight, counted):
    assert judge(error).weight == weight
    assert judge(error).verdict == counted


def test_a_ruling_names_the_class_and_never_the_message():
    ruling = judge(errors.RateLimited("sk-secret", retry_after=3.0))

    assert (ruling.error, ruling.retry_after) == ("RateLimited", 3.0)
    assert "secret" not in repr(ruling)


def test_rulings_travel_between_processes():
    assert pickle.loads(pickle.dumps(SUCCESS)) == SUCCESS
