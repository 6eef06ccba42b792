"""One replica's view, with its own clock and without an authority or with its words spelled."""

import math

import pytest

from compass_ray.gateway.circuits import Circuits
from compass_ray.policy.breaker import Permit
from compass_ray.types.errors import (
    InvalidRequest,
    ProviderAuthFailed,
    ProviderFault,
    RateLimited,
)
from compass_ray.types.status import CircuitStatus

A, B = "a/m", "b/m"
FAULT = ProviderFault("x")


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def circuits(clock):
    return Circuits(clock=clock)


def call(circuits, clock, error=None, endpoint_id=A):
    permit = circuits.admit(endpoint_id, clock.now)
    assert permit is not None
    circuits.report(permit, error, clock.now)


def fail(circuits, clock, count=5, endpoint_id=A):
    for _ in range(count):
        call(circuits, clock, FAULT, endpoint_id)


def test_all_is_well_costs_no_new_mapping(circuits, clock):
    call(circuits, clock)

    assert circuits.excluded(clock.now) is circuits.excluded(clock.now + 1)
    assert not circuits.excluded(clock.now)


def test_five_own_failures_stop_the_traffic_at_once(circuits, clock):
    fail(circuits, clock)

    assert circuits.admit(A, clock.now) is None
    assert circuits.excluded(clock.now) == {
        A: "circuit open: 5 failures in a row, the last: ProviderFault"
    }


def test_successes_count_in_their_order(circuits, clock):
    fail(circuits, clock, 4)
    for _ in range(100):
        call(circuits, clock)
    fail(circuits, clock, 4)

    assert not circuits.excluded(clock.now)


def test_the_callers_own_errors_never_count(circuits, clock):
    for _ in range(50):
        call(circuits, clock, InvalidRequest("x"))

    assert not circuits.excluded(clock.now)
    assert circuits.take_outcomes() == ()


def test_a_rate_limited_endpoint_rests_until_it_said(circuits, clock):
    call(circuits, clock, RateLimited("x", retry_after=7.0))
    assert circuits.excluded(clock.now) == {A: "rate limited"}
    assert circuits.admit(A, clock.now + 6.9) is None

    clock.now += 7.0

    assert not circuits.excluded(clock.now)
    assert circuits.admit(A, clock.now) is not None


def test_an_endpoint_that_answers_and_says_it_is_used_up_rests(circuits, clock):
    permit = circuits.admit(A, clock.now)

    circuits.rest(permit, 30.0, clock.now)
    circuits.report(permit, None, clock.now)

    assert circuits.excluded(clock.now) == {A: "rate limited"}
    clock.now += 30.0
    assert circuits.excluded(clock.now) == {}
    assert [(o.ruling.weight, o.count) for o in circuits.take_outcomes()] == [
        ("cooldown", 1),
        ("success", 1),
    ]


def test_alone_it_probes_one_at_a_time_and_three_successes_close(circuits, clock):
    fail(circuits, clock)
    clock.now += 60.0
    for _ in range(3):
        assert not circuits.excluded(clock.now)
        probe = circuits.admit(A, clock.now)
        assert circuits.admit(A, clock.now) is None
        assert A in circuits.excluded(clock.now)
        circuits.report(probe, None, clock.now)

    assert circuits.statuses(clock.now)[A].phase == "closed"


def test_a_released_probe_frees_its_slot(circuits, clock):
    fail(circuits, clock)
    clock.now += 60.0

    circuits.release(circuits.admit(A, clock.now), clock.now)

    assert circuits.admit(A, clock.now) is not None


def test_a_released_call_of_a_closed_circuit_says_nothing(circuits, clock):
    circuits.release(circuits.admit(A, clock.now), clock.now)

    assert circuits.take_outcomes() == ()


def test_with_an_authority_a_half_open_circuit_waits_for_its_lease(circuits, clock):
    circuits.hear(1, {A: CircuitStatus("open", 7, clock.now + 60.0, "others saw it fail")})
    assert circuits.excluded(clock.now) == {A: "circuit open: others saw it fail"}
    clock.now += 60.0
    assert circuits.admit(A, clock.now) is None
    assert circuits.probeless() == {A: ()}

    circuits.take_lease(A, Permit(7, probe=3))

    assert not circuits.excluded(clock.now)
    probe = circuits.admit(A, clock.now)
    assert circuits.admit(A, clock.now) is None
    assert circuits.probeless() == {A: (Permit(7, probe=3),)}
    assert circuits.holds_probes
    circuits.report(probe, None, clock.now)
    assert not circuits.holds_probes
    (outcome,) = circuits.take_outcomes()
    assert (outcome.permit, outcome.ruling.weight) == (Permit(7, probe=3), "success")


def test_requests_ask_for_the_probe_and_silence_does_not(circuits, clock):
    circuits.hear(1, {A: CircuitStatus("open", 7, clock.now + 60.0)})
    clock.now += 60.0
    assert not circuits.probe_wanted.is_set()

    circuits.excluded(clock.now)

    assert circuits.probe_wanted.is_set()


def test_an_unused_lease_is_given_back(circuits, clock):
    circuits.hear(1, {A: CircuitStatus("half-open", 7, clock.now)})
    circuits.take_lease(A, Permit(7, probe=3))
    circuits.give_back(1.0)
    assert circuits.holds_probes
    clock.now += 1.0

    circuits.give_back(1.0)

    assert not circuits.holds_probes
    assert A in circuits.excluded(clock.now)
    (outcome,) = circuits.take_outcomes()
    assert (outcome.permit.probe, outcome.ruling.weight) == (3, "neutral")


def test_a_newer_word_replaces_the_own_verdict_and_an_older_one_does_not(circuits, clock):
    circuits.hear(1, {A: CircuitStatus("closed", 7)})
    fail(circuits, clock)

    circuits.hear(2, {A: CircuitStatus("closed", 7)})
    assert A in circuits.excluded(clock.now)

    circuits.hear(3, {A: CircuitStatus("closed", 8)})
    assert not circuits.excluded(clock.now)


def test_a_call_admitted_before_a_word_is_stale_after_it(circuits, clock):
    early = [circuits.admit(A, clock.now) for _ in range(5)]
    circuits.hear(1, {A: CircuitStatus("open", 7, clock.now + 60.0)})
    circuits.hear(2, {A: CircuitStatus("closed", 8)})

    for permit in early:
        circuits.report(permit, FAULT, clock.now)

    assert not circuits.excluded(clock.now)
    assert {outcome.permit for outcome in circuits.take_outcomes()} == {Permit(0)}


def test_an_authority_restarted_with_an_earlier_clock_is_heard(circuits, clock):
    circuits.hear(500, {A: CircuitStatus("closed", 500)})

    circuits.hear(100, {A: CircuitStatus("open", 101, clock.now + 60.0)})

    assert A in circuits.excluded(clock.now)


def test_a_circuit_held_open_by_an_operator_stays_open(circuits, clock):
    circuits.hear(1, {A: CircuitStatus("open", 7, None, "opened by an operator")})

    assert circuits.admit(A, clock.now + 1e9) is None
    assert circuits.statuses(clock.now)[A].retry_at is None
    assert circuits.statuses(clock.now)[A].phase == "open"


def test_the_authority_knows_better_when_the_open_time_is_over(circuits, clock):
    circuits.hear(1, {A: CircuitStatus("open", 7, clock.now + 1800.0)})

    circuits.hear(1, {A: CircuitStatus("half-open", 7, clock.now)})

    assert circuits.probeless() == {A: ()}


def test_a_shared_cooldown_applies_here_too(circuits, clock):
    circuits.hear(1, {A: CircuitStatus("closed", 0, clock.now + 5.0)})

    assert circuits.excluded(clock.now) == {A: "rate limited"}
    assert not circuits.excluded(clock.now + 5.0)


def test_the_last_endpoint_of_a_group_is_never_excluded_by_own_failures(clock):
    circuits = Circuits(groups=(frozenset({A, B}),), clock=clock)
    call(circuits, clock, ProviderAuthFailed("x"), A)
    fail(circuits, clock, 20, B)

    assert set(circuits.excluded(clock.now)) == {A}


def test_own_and_shared_verdicts_together_never_empty_a_group(clock):
    circuits = Circuits(groups=(frozenset({A, B}),), clock=clock)
    call(circuits, clock)
    fail(circuits, clock, 5, B)

    circuits.hear(1, {A: CircuitStatus("open", 7, clock.now + 60.0)})

    assert set(circuits.excluded(clock.now)) == {A}


def test_outcomes_alike_travel_as_one(circuits, clock):
    for _ in range(1000):
        call(circuits, clock)
    fail(circuits, clock, 3)
    for _ in range(10):
        call(circuits, clock)

    outcomes = circuits.take_outcomes()

    assert [(outcome.ruling.weight, outcome.count) for outcome in outcomes] == [
        ("success", 1000),
        ("failure", 3),
        ("success", 10),
    ]
    assert circuits.take_outcomes() == ()


def test_a_failure_is_urgent_and_a_success_is_not(circuits, clock):
    call(circuits, clock)
    assert circuits.news.is_set()
    assert not circuits.urgent.is_set()

    call(circuits, clock, FAULT)

    assert circuits.urgent.is_set()


def test_the_view_satisfies_a_caller_that_asks_later_than_it_changed(circuits, clock):
    fail(circuits, clock)
    assert math.isclose(circuits.statuses(clock.now)[A].retry_at, clock.now + 60.0)

    assert not circuits.excluded(clock.now + 3600.0)
