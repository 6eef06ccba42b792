"""Keys take turns; what befalls one stays with it."""

from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.key_pool import (
    COOLDOWNS,
    accepted,
    limited,
    pick,
    pool_of,
    ready_in,
    refused,
)


def picks(pool, now, times, endpoint="e"):
    """Return whose turn it is, time after time."""
    places = []
    for _ in range(times):
        pool, place = pick(pool, endpoint, now)
        places.append(place)
    return places


def test_keys_take_turns():
    assert picks(pool_of(3), 0.0, 6) == [0, 1, 2, 0, 1, 2]


def test_a_key_that_was_tried_is_not_tried_again():
    pool = pool_of(2)

    assert pick(pool, "e", 0.0, tried=[0])[1] == 1
    assert pick(pool, "e", 0.0, tried=[0, 1])[1] is None


def test_a_limited_key_rests_at_that_endpoint_only():
    pool = limited(pool_of(2), 0, "e", 10.0, 100.0)

    assert picks(pool, 109.0, 2) == [1, 1]
    assert picks(pool, 109.0, 2, "other") == [0, 1]
    assert picks(pool, 110.0, 2) == [0, 1]


def test_where_every_key_rests_nobody_signs_until_the_first_is_ready():
    pool = limited(limited(pool_of(2), 0, "e", 10.0, 100.0), 1, "e", 5.0, 100.0)

    assert pick(pool, "e", 101.0)[1] is None
    assert ready_in(pool, "e", 101.0) == 4.0
    assert ready_in(pool, "other", 101.0) == 0.0


def test_a_limit_that_says_nothing_is_a_short_rest_and_never_shortens_a_longer_one():
    pool = limited(pool_of(1), 0, "e", 10.0, 100.0)

    assert ready_in(limited(pool, 0, "e", None, 101.0), "e", 101.0) == 9.0
    assert 0 < ready_in(limited(pool_of(1), 0, "e", None, 0.0), "e", 0.0) < 10


def test_a_refused_key_is_out_everywhere_and_longer_each_time():
    pool = pool_of(2)

    for cooldown in (*COOLDOWNS, COOLDOWNS[-1]):
        pool = refused(pool, 0, 0.0)
        assert picks(pool, cooldown - 1, 2) == [1, 1]
        assert 0 in picks(pool, cooldown, 2)
    assert pool.live == 1


def test_only_one_call_probes_a_key_that_was_out():
    pool = refused(pool_of(2), 0, 0.0)

    assert picks(pool, COOLDOWNS[0], 4).count(0) == 1


def test_a_probe_that_is_lost_is_made_again():
    pool = refused(pool_of(2), 0, 0.0)
    pool, _ = pick(pool, "e", COOLDOWNS[0])

    assert 0 in picks(pool, COOLDOWNS[0] + 600, 2)


def test_an_accepted_key_is_back_as_if_nothing_had_been():
    pool = accepted(refused(pool_of(2), 0, 0.0), 0)

    assert picks(pool, 0.0, 2) == [0, 1]
    assert refused(pool, 0, 0.0) == refused(pool_of(2), 0, 0.0)


def test_a_limit_says_that_a_key_is_accepted():
    assert limited(refused(pool_of(2), 0, 0.0), 0, "e", 1.0, 0.0).live == 2


def test_where_every_key_is_out_the_one_that_was_out_longest_is_taken():
    pool = refused(refused(pool_of(2), 1, 0.0), 0, 5.0)

    assert pick(pool, "e", 6.0)[1] == 1
    assert pick(pool, "e", 6.0, tried=[1])[1] == 0


_EVENTS = st.lists(
    st.tuples(st.sampled_from(["limit", "refuse", "accept"]), st.integers(0, 3), st.floats(0, 300)),
    max_size=12,
)


@given(st.integers(1, 4), _EVENTS, st.floats(0, 1e4), st.sets(st.integers(0, 3)))
def test_a_key_is_picked_whenever_one_may_be(size, events, later, tried):
    pool, now = pool_of(size), 0.0
    for what, key, seconds in events:
        place, now = key % size, now + seconds
        if what == "limit":
            pool = limited(pool, place, "e", seconds, now)
        elif what == "refuse":
            pool = refused(pool, place, now)
        else:
            pool = accepted(pool, place)
    now += later

    _, place = pick(pool, "e", now, tried)

    left = set(range(size)) - tried
    assert place is None or place in left
    if left and not tried and not ready_in(pool, "e", now):
        assert place is not None
    if place is None and not tried:
        assert ready_in(pool, "e", now) > 0
