import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.concurrency import (
    Bounds,
    Limit,
    first,
    gives_way,
    is_overload,
    lowered,
    raised,
)
from compass_ray.types.errors import (
    BadAnswer,
    Overloaded,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
)

BOUNDS = Bounds(2, 64, 1.0)


def test_the_limit_doubles_in_a_round_until_the_first_overload():
    limit = first(BOUNDS)

    for _ in range(8):
        limit = raised(limit, 8, BOUNDS)

    assert (first(BOUNDS).calls, limit.calls) == (8, 16)


def test_after_an_overload_it_grows_by_one_in_a_round():
    limit = lowered(Limit(20.0), 0.0, 1.0, BOUNDS)

    for _ in range(16):
        limit = raised(limit, 16, BOUNDS)

    assert limit.calls == pytest.approx(17, abs=0.1)


def test_calls_that_were_under_way_together_lower_it_once():
    limit = lowered(Limit(20.0), 0.0, 1.0, BOUNDS)

    assert lowered(limit, 0.9, 1.1, BOUNDS) == limit
    assert lowered(limit, 1.1, 1.2, BOUNDS).calls == pytest.approx(12.8)


def test_a_limit_that_is_not_reached_does_not_grow():
    assert raised(Limit(20.0), 9, BOUNDS).calls == 20


@pytest.mark.parametrize(
    ("error", "overload"),
    [
        (RateLimited("429"), True),
        (Overloaded("503"), True),
        (ProviderTimeout("slow", phase="first byte"), True),
        (ProviderTimeout("nobody", phase="connect"), False),
        (QuotaExhausted("no money"), False),
        (BadAnswer("html"), False),
    ],
)
def test_what_counts_as_an_overload(error, overload):
    assert is_overload(error) is overload


def test_the_circuit_hears_of_it_at_the_floor_and_where_a_time_is_told():
    assert gives_way(Limit(8.0), Overloaded("503"), BOUNDS)
    assert not gives_way(Limit(2.0), Overloaded("503"), BOUNDS)
    assert not gives_way(Limit(8.0), RateLimited("429", retry_after=3.0), BOUNDS)
    assert not gives_way(Limit(8.0), BadAnswer("html"), BOUNDS)
    assert not gives_way(Limit(8.0), ProviderTimeout("hangs", phase="first byte"), BOUNDS)


@given(
    st.integers(1, 50),
    st.integers(0, 50),
    st.lists(st.tuples(st.booleans(), st.integers(1, 200), st.floats(0, 100))),
)
def test_the_limit_stays_within_its_bounds(floor, more, events):
    bounds = Bounds(floor, floor + more, 1.0)
    limit = first(bounds)

    for answered, in_flight, at in events:
        limit = raised(limit, in_flight, bounds) if answered else lowered(limit, at, at, bounds)
        assert bounds.floor <= limit.calls <= bounds.ceiling
