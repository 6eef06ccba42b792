"""What a query string may ask of runs."""

import pytest

from compass_ray.serving.run_queries import analysing, listing, waiting
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import Forbidden, InvalidRequest
from compass_ray.types.run_analytics import AnalysisQuery
from compass_ray.types.workflows import RunQuery


def test_nothing_asked_is_the_latest_hundred():
    assert listing([], "task", "acme") == RunQuery("acme", "task", 100)
    assert waiting([]) is None


def test_every_field_is_read():
    said = [
        ("status", "failed"),
        ("limit", "7"),
        ("name", "n"),
        ("after", "workflow_1"),
        ("created_after", "1.5"),
        ("created_before", "2"),
    ]

    read = listing(said, "workflow", "acme")

    assert read == RunQuery("acme", "workflow", 7, "failed", "n", "workflow_1", 1.5, 2.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "1.5"),
        ("limit", "9" * 5_000),
        ("limit", "\u0663"),
        ("limit", ""),
        ("status", "done"),
        ("status", ""),
        ("name", "tasks have none"),
        ("created_after", "yesterday"),
        ("created_after", "nan"),
        ("created_before", "inf"),
        ("created_before", "-1"),
        ("page", "2"),
    ],
)
def test_a_wrong_field_is_named(name, value):
    with pytest.raises(InvalidRequest) as refused:
        listing([(name, value)], "task", "acme")

    assert refused.value.param == name


def test_a_field_that_is_there_twice_is_named():
    with pytest.raises(InvalidRequest) as refused:
        listing([("limit", "1"), ("limit", "2")], "task", "acme")

    assert refused.value.param == "limit"


OWN = Caller("alice", "acme")
ADMIN = Caller("ops", "ops", admin=True)


def test_an_analysis_is_of_the_caller_s_account_and_an_admin_s_of_all():
    said = [("by", "model"), ("from", "1"), ("to", "2"), ("name", "n")]

    assert analysing([], OWN, 9.0) == AnalysisQuery("name", 0.0, 9.0, "acme")
    assert analysing([("account", "acme")], OWN, 9.0) == analysing([], OWN, 9.0)
    assert analysing(said, ADMIN, 9.0) == AnalysisQuery("model", 1.0, 2.0, None, "n")
    assert analysing([("account", "acme")], ADMIN, 9.0).account == "acme"
    with pytest.raises(Forbidden):
        analysing([("account", "other")], OWN, 9.0)


@pytest.mark.parametrize(
    ("name", "value"), [("by", "day"), ("from", "x"), ("from", "10"), ("to", "-1"), ("until", "1")]
)
def test_a_wrong_field_of_an_analysis_is_named(name, value):
    with pytest.raises(InvalidRequest) as refused:
        analysing([(name, value)], ADMIN, 9.0)

    assert refused.value.param == name


@pytest.mark.parametrize("value", ["60.1", "-1", "nan", "soon", "1_0_0"])
def test_a_wait_that_is_too_long_or_no_number_is_named(value):
    with pytest.raises(InvalidRequest) as refused:
        waiting([("wait_s", value)])

    assert refused.value.param == "wait_s"
