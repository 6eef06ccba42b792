import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.doors.messages_models import page
from compass_ray.types.errors import InvalidRequest


def listed(count):
    return [{"id": f"m{number}", "created": 1_700_000_000} for number in range(count)]


def shown(models, **query):
    told = page(models, query)
    return [one["id"] for one in told["data"]], told["has_more"]


def test_a_page_has_twenty_without_a_limit():
    ids, more = shown(listed(21))

    assert (len(ids), more) == (20, True)


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ({"limit": "2"}, ["m0", "m1"], True),
        ({"limit": "5"}, ["m0", "m1", "m2", "m3", "m4"], False),
        ({"limit": "2", "after_id": "m1"}, ["m2", "m3"], True),
        ({"limit": "2", "after_id": "m2"}, ["m3", "m4"], False),
        ({"after_id": "m4"}, [], False),
        ({"limit": "2", "before_id": "m4"}, ["m2", "m3"], True),
        ({"limit": "2", "before_id": "m2"}, ["m0", "m1"], False),
        ({"before_id": "m0"}, [], False),
    ],
)
def test_a_page_begins_after_one_model_or_ends_before_it(query, ids, more):
    assert shown(listed(5), **query) == (ids, more)


def test_a_page_names_its_first_and_last():
    told = page(listed(5), {"limit": "3", "after_id": "m0"})

    assert (told["first_id"], told["last_id"]) == ("m1", "m3")
    assert page([], {}) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@given(st.integers(0, 50), st.integers(1, 60))
def test_pages_in_either_direction_are_the_whole_list(count, limit):
    models = listed(count)
    forward, backward = [], []
    told = page(models, {"limit": str(limit)})
    forward += told["data"]
    while told["has_more"]:
        told = page(models, {"limit": str(limit), "after_id": told["last_id"]})
        forward += told["data"]
    more, before = count > 0, models[-1]["id"] if models else ""
    while more:
        told = page(models, {"limit": str(limit), "before_id": before})
        backward = told["data"] + backward
        more, before = told["has_more"], told["first_id"]

    every = [one["id"] for one in models]
    assert [one["id"] for one in forward] == every
    assert [one["id"] for one in backward] == every[:-1]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "9" * 5_000}, "limit"),
        ({"limit": "0100099999"}, "limit"),
        ({"limit": "00001" + "0" * 5_000}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "²"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"after_id": "nobody"}, "after_id"),
        ({"before_id": "nobody"}, "before_id"),
        ({"after_id": "m1", "before_id": "m2"}, "before_id"),
    ],
)
def test_what_cannot_be_a_page_is_refused_by_name(query, param):
    with pytest.raises(InvalidRequest) as refused:
        page(listed(3), query)

    assert refused.value.param == param
