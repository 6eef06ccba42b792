"""Windows, paths of accounts, and what is granted; the conversation is tested in test_books.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy import budget
from compass_ray.policy.budget import Lease, Pot, limit_of, measure, path, window
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Amounts
from compass_ray.types.money import Wish

ZONES = ["UTC", "Europe/Berlin", "Pacific/Apia", "America/Sao_Paulo", "Asia/Kathmandu"]
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
    assert window(Limit(1, period), now) == (label, end)


def test_a_path_leads_from_the_account_to_its_root():
    accounts = {
        "org": Account("org", None, (Limit(100, "month"),)),
        "team": Account("team", "org"),
        "key": Account("key", "team", (Limit(5, "day"),)),
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


@pytest.mark.parametrize(
    ("now", "label", "hours"),
    [
        (1_774_652_400.0, "2026-03-28", 24),
        (1_774_738_800.0, "2026-03-29", 23),  # clocks go forward
        (1_792_879_200.0, "2026-10-25", 25),  # clocks go back
        (1_709_164_800.0 - 3600, "2024-02-29", 24),
    ],
)
def test_a_day_is_as_long_as_its_time_zone_has_it(now, label, hours):
    limit = Limit(1, "day", time_zone="Europe/Berlin")

    assert window(limit, now) == (label, now + hours * 3600)
    assert window(limit, now + hours * 3600 - 1)[0] == label
    assert window(limit, now - 1)[0] != label


@given(st.floats(0, 4e9), st.sampled_from(["day", "month"]), st.sampled_from(ZONES))
def test_every_moment_is_in_one_window_that_ends_after_it(now, period, zone):
    limit = Limit(1, period, time_zone=zone)
    label, end = window(limit, now)

    assert end > now
    assert window(limit, end)[0] != label
    assert window(limit, (now + end) / 2)[0] == label


def test_every_limit_is_a_bucket_and_money_is_always_counted():
    limits = (
        Limit(5, "day", "tokens"),
        Limit(6, "month", "requests"),
        Limit(7, "minute", "tokens"),
        Limit(8, "lifetime", "parallel"),
    )
    accounts = {"a": Account("a", None, limits)}

    found = path(accounts, "a", NEW_YEAR)

    assert [(b.key, b.limit, Amounts._fields[measure(b.key)], b.is_budget) for b in found] == [
        ("a@lifetime", None, "usd", True),
        ("a@2026-01-01#tokens", 5, "tokens", True),
        ("a@2026-01#requests", 6, "requests", True),
        ("a@minute#tokens", 7, "pace", False),
        ("a@lifetime#parallel", 8, "parallel", False),
    ]
    assert [limit_of(accounts, b.key) for b in found] == [None, 5, 6, 7, 8]


@given(st.lists(st.tuples(st.floats(0.01, 30), st.integers(1, 9)), min_size=1))
def test_a_minute_s_limit_remembers_all_of_the_last_minute_and_little_more(steps):
    pot, now, spent = Pot(), 1_000.0, []
    for pause, amount in steps:
        now += pause
        budget.forget(pot, now)
        budget.settle(pot, "r", amount, now)
        spent.append((now, amount))

        assert pot.spent >= sum(amount for at, amount in spent if at > now - 60)
        assert pot.spent <= sum(amount for at, amount in spent if at > now - 60.5)


def test_what_was_spent_before_a_restart_is_forgotten_a_minute_after_it():
    pot = Pot(7)

    budget.forget(pot, 100.0)
    assert pot.spent == 7
    budget.forget(pot, 159.0)
    assert pot.spent == 7
    budget.forget(pot, 160.0)
    assert pot.spent == 0


def test_it_is_known_when_a_minute_s_limit_has_room_again():
    pot = Pot()
    for at, amount in ((100.0, 3), (110.0, 4), (120.0, 3)):
        budget.settle(pot, "r", amount, at)

    waits = [
        budget.frees_in(pot, 10, Wish(0, least, least, least), 130.0) for least in (0, 3, 5, 10, 11)
    ]

    assert waits == [0.0, 30.0, 40.0, 50.0, 60.0]


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
