from compass_ray.gateway.slices import Slices
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Amounts
from compass_ray.types.money import Grant, Wish

ACCOUNTS = {
    "org": Account("org", None, (Limit(1_000),)),
    "team": Account("team", "org", (Limit(100, "day"),)),
}
TEAM, ORG = "team@1970-01-01", "org@lifetime"


def granted(slices, amount):
    """Grant so much of every bucket."""
    slices.wishes(0.0)
    slices.hear({key: Grant(amount, 0, scarce=False) for key in (TEAM, ORG)})


def test_every_level_must_have_it_or_none_is_touched():
    slices = Slices(ACCOUNTS)
    path = slices.path("team", 0.0)
    path.take(Amounts(1))
    slices.wishes(0.0)
    slices.hear({TEAM: Grant(50, 0, scarce=False), ORG: Grant(20, 0, scarce=False)})

    assert path.fits(Amounts(19))
    assert not path.fits(Amounts(20))


def test_who_comes_later_does_not_overtake_who_waits():
    slices = Slices(ACCOUNTS)
    path = slices.path("team", 0.0)
    path.take(Amounts(1))
    granted(slices, 50)

    path.wait_for(Amounts(60))

    assert not path.fits(Amounts(1))
    assert path.fits(Amounts(1), waited_for=True)
    path.stop_waiting(Amounts(60))
    assert path.fits(Amounts(1))


def test_a_wish_tells_what_is_kept_what_waits_and_what_is_used_per_second():
    slices = Slices(ACCOUNTS)
    path = slices.path("team", 0.0)
    path.take(Amounts(10))
    path.give_back(Amounts(10), Amounts(4))
    path.take(Amounts(5))
    path.wait_for(Amounts(30))
    path.wait_for(Amounts(20))

    wishes = slices.wishes(0.0)

    assert wishes == {key: Wish(9, 29, 59, 59 + 2 * 15) for key in (TEAM, ORG)}


def test_too_little_for_anybody_who_waits_is_given_back():
    slices = Slices(ACCOUNTS)
    path = slices.path("team", 0.0)
    path.wait_for(Amounts(30))
    granted(slices, 20)

    slices.wishes(0.0)

    assert [slice_.granted for slice_ in path.slices] == [0, 0]


def test_what_is_not_used_for_two_seconds_is_given_back():
    slices = Slices(ACCOUNTS)
    path = slices.path("team", 0.0)
    path.take(Amounts(10))
    path.give_back(Amounts(10), Amounts(10))
    granted(slices, 30)

    assert slices.wishes(1.0)[TEAM].want == 30
    assert slices.wishes(3.0)[TEAM].want == 10
    assert path.slices[0].left() == 0


def test_a_new_window_begins_at_nothing():
    slices = Slices(ACCOUNTS)
    slices.path("team", 0.0).take(Amounts(10))

    tomorrow = slices.path("team", 86_400.0)

    assert tomorrow.keys == ("team@1970-01-02", ORG)
    assert [slice_.held for slice_ in tomorrow.slices] == [0, 10]


def test_a_clock_that_steps_back_after_a_window_was_forgotten_doubles_nothing():
    slices = Slices(ACCOUNTS)
    path = slices.path("team", 0.0)
    path.take(Amounts(90))
    slices.wishes(0.0)
    slices.hear({key: Grant(90, 0, scarce=False) for key in (TEAM, ORG)})
    path.give_back(Amounts(90), Amounts(90))
    for slice_ in path.slices:
        slice_.unposted = 0
    slices.path("team", 86_401.0)
    for second in (86_401, 86_404, 86_407):
        slices.wishes(second)

    again = slices.path("team", 86_399.0, provider="p")
    again.wait_for(Amounts(5))
    slices.wishes(86_399.0)
    slices.hear({TEAM: Grant(90, 90, scarce=False)})

    assert again.slices[0].left() == 0


def test_an_answer_about_a_slice_that_rests_is_passed_over():
    slices = Slices(ACCOUNTS)
    slices.path("team", 0.0)

    slices.hear({"gone@lifetime": Grant(5, 0, scarce=False), TEAM: Grant(7, 0, scarce=False)})

    assert slices.path("team", 0.0).slices[0].granted == 7
