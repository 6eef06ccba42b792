"""Windows, paths of accounts, and what is granted; the conversation is tested in test_books.py."""

import pytest

from compass_ray.policy import budget
from compass_ray.policy.budget import Lease, Pot, path, window
from compass_ray.types.accounts import Account
from compass_ray.types.money import Wish

NEW_YEAR = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("period", "now", "label", "end"),
    [
        ("lifetime", NEW_YEAR, "lifetime", None),
        ("day", NEW_YEAR, "2026-01-01", NEW_YEAR + 86_400),
        ("day", NEW_YEAR - 0.001, "2025-12-31", NEW_YEAR),
        ("month", NEW_YEAR - 1, "2025-12", NEW_YEAR),
        ("month", NEW_YEAR + 58 * 86_400, "2026-02", NEW_YEAR + 59 * 86_400),
    ],
)
def test_windows_begin_and_end_in_utc(period, now, label, end):
    assert window(period, now) == (label, end)


def test_a_path_leads_from_the_account_to_its_root():
    accounts = {
        "org": Account("org", None, 100, "month"),
        "team": Account("team", "org", None),
        "key": Account("key", "team", 5, "day"),
    }

    found = path(accounts, "key", NEW_YEAR)

    assert [(b.key, b.limit) for b in found] == [
        ("key@2026-01-01", 5),
        ("team@lifetime", None),
        ("org@2026-01", 100),
    ]


def test_an_account_that_is_not_listed_has_no_budget():
    assert [(b.key, b.limit) for b in path({}, "open", 0.0)] == [("open@lifetime", None)]


def test_what_is_too_little_for_any_waiting_request_is_left_to_others():
    pot = Pot(990, 0)  # ten are free of 1,000

    budget.grant(pot, 995, "one", Wish(0, 10, 10, 10), 0.0, scarce_for=0.3)
    budget.grant(pot, 1_000, "two", Wish(0, 10, 10, 10), 0.0, scarce_for=0.3)

    assert pot.leases["one"] == Lease(0, 0)
    assert pot.leases["two"] == Lease(10, 0)


def test_a_slice_in_advance_is_smaller_the_less_is_left():
    grants = []
    for spent in (0, 600, 960):
        pot = Pot(spent)
        budget.grant(pot, 1_000, "one", Wish(0, 0, 0, 500), 0.0, scarce_for=0.3)
        grants.append(pot.leases["one"].granted)

    assert grants == [250, 100, 10]


def test_a_need_that_cannot_be_met_asks_the_others_to_give_back():
    pot = Pot(0)
    budget.grant(pot, 1_000, "one", Wish(0, 0, 900, 900), 0.0, scarce_for=0.3)
    budget.grant(pot, 1_000, "two", Wish(0, 50, 200, 200), 5.0, scarce_for=0.3)

    assert pot.leases["two"].granted == 100
    assert pot.scarce_until == 5.3


def test_what_is_given_up_is_free_again():
    pot = Pot(0)
    budget.grant(pot, 1_000, "one", Wish(0, 0, 900, 900), 0.0, scarce_for=0.3)

    budget.grant(pot, 1_000, "one", Wish(100, 100, 100, 100), 0.0, scarce_for=0.3)

    assert pot.leased == 100


def test_what_others_hold_and_do_not_use_may_come():
    pot = Pot()
    budget.grant(pot, 1_000, "one", Wish(300, 300, 900, 900), 0.0, scarce_for=2.0)
    wish = Wish(0, 600, 600, 600)
    budget.grant(pot, 1_000, "two", wish, 0.0, scarce_for=2.0)

    assert budget.may_come(pot, 1_000, "two", wish)
    assert not budget.may_come(pot, 1_000, "two", Wish(0, 701, 701, 701))
    budget.grant(pot, 1_000, "one", Wish(900, 900, 900, 900), 0.0, scarce_for=2.0)
    assert not budget.may_come(pot, 1_000, "two", wish)
    budget.release(pot, "one")
    assert budget.may_come(pot, 1_000, "two", wish)
