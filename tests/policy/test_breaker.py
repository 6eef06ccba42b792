"""The breaker as a model checker sees it: any order of admits, verdicts and clock moves."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compass_ray.policy.breaker import (
    BreakerConfig,
    Circuit,
    Outcome,
    Permit,
    admit,
    adopt,
    is_last,
    lease,
    operate,
    phase,
    settle,
    settle_all,
    status_of,
)
from compass_ray.policy.verdict import NEUTRAL, SUCCESS, Ruling
from compass_ray.types.status import CircuitStatus

CONFIG = BreakerConfig()
FAILURE = Ruling("failure", "ProviderFault")
FATAL = Ruling("fatal", "ProviderAuthFailed")


def ended(circuit, ruling, now=0.0, count=1, permit=None, **options):
    permit = permit or Permit(circuit.epoch)
    return settle(circuit, CONFIG, Outcome("a/m", permit, ruling, count), now, **options)


def tripped(now=0.0):
    return ended(Circuit(), FAILURE, now, count=5)


def probed(circuit, ruling, now):
    circuit, permit = lease(circuit, CONFIG, now)
    assert permit is not None
    return ended(circuit, ruling, now, permit=permit)


def test_five_failures_in_a_row_open_the_circuit():
    circuit = Circuit()
    for _ in range(4):
        circuit = ended(circuit, FAILURE)
    assert phase(circuit, 0.0) == "closed"

    circuit = ended(circuit, FAILURE)

    assert phase(circuit, 0.0) == "open"
    assert "5 failures in a row" in circuit.reason


def test_a_success_between_failures_starts_the_row_again():
    circuit = ended(Circuit(), SUCCESS, count=100)
    for _ in range(3):
        circuit = ended(ended(circuit, FAILURE, count=4), SUCCESS)

    assert phase(circuit, 0.0) == "closed"


def test_more_than_a_fifth_of_failures_opens_the_circuit_and_a_fifth_does_not():
    circuit = Circuit()
    for _ in range(4):
        circuit = ended(ended(circuit, SUCCESS, count=4), FAILURE)
    assert phase(circuit, 0.0) == "closed"

    circuit = ended(circuit, FAILURE)

    assert phase(circuit, 0.0) == "open"
    assert circuit.reason.startswith("5 of 21 calls failed")


def test_few_calls_are_no_rate():
    circuit = ended(ended(Circuit(), SUCCESS, count=5), FAILURE, count=4)

    assert phase(circuit, 0.0) == "closed"


def test_failures_older_than_the_window_are_forgotten():
    circuit = ended(ended(Circuit(), SUCCESS, count=16), FAILURE, count=4)

    circuit = ended(ended(circuit, SUCCESS, 60.0, count=16), FAILURE, 60.0)

    assert circuit.window.total_failures == 1
    assert phase(circuit, 60.0) == "closed"


def test_an_open_circuit_is_half_open_after_a_minute_and_admits_one_probe():
    circuit = tripped()

    assert admit(circuit, CONFIG, 59.9)[1] is None
    circuit, first = admit(circuit, CONFIG, 60.0)
    assert first is not None
    assert admit(circuit, CONFIG, 60.0)[1] is None


def test_three_successful_probes_close_the_circuit():
    circuit = probed(probed(tripped(), SUCCESS, 60.0), SUCCESS, 61.0)
    assert phase(circuit, 61.0) == "half-open"

    circuit = probed(circuit, SUCCESS, 62.0)

    assert phase(circuit, 62.0) == "closed"


def test_repeated_trips_back_off_for_1_5_15_60_and_60_minutes():
    circuit, now, waits = tripped(), 0.0, []
    for _ in range(5):
        waits.append((circuit.retry_at - now) / 60)
        now = circuit.retry_at
        circuit = probed(circuit, FAILURE, now)

    assert waits == pytest.approx([1, 5, 15, 60, 60])


@pytest.mark.parametrize(("closed_for", "minutes"), [(599.0, 5), (600.0, 1)])
def test_ten_minutes_closed_forgive_the_earlier_trips(closed_for, minutes):
    circuit = tripped()
    for _ in range(3):
        circuit = probed(circuit, SUCCESS, 60.0)

    circuit = ended(circuit, FAILURE, 60.0 + closed_for, count=5)

    assert circuit.retry_at == pytest.approx(60.0 + closed_for + minutes * 60)


def test_a_lost_probe_frees_its_slot():
    circuit, _ = lease(tripped(), CONFIG, 60.0)

    assert lease(circuit, CONFIG, 62.9)[1] is None
    assert lease(circuit, CONFIG, 75.0)[1] is not None


def test_a_neutral_probe_frees_its_slot_and_decides_nothing():
    circuit = probed(probed(tripped(), NEUTRAL, 60.0), NEUTRAL, 60.0)

    assert phase(circuit, 60.0) == "half-open"
    assert circuit.successes == 0


def test_the_late_news_of_a_lost_probe_still_counts():
    circuit, lost = lease(tripped(), CONFIG, 60.0)
    circuit, _ = lease(circuit, CONFIG, 130.0)

    assert ended(circuit, SUCCESS, 131.0, permit=lost).successes == 1


def test_news_from_before_the_trip_is_stale():
    circuit = tripped()

    assert ended(circuit, SUCCESS, 61.0, permit=Permit(0)) == circuit
    assert ended(circuit, FAILURE, 61.0, permit=Permit(0)) == circuit


def test_only_probes_speak_for_an_open_circuit():
    circuit = tripped()

    assert ended(circuit, SUCCESS, 61.0, permit=Permit(circuit.epoch)) == circuit


def test_a_refused_key_opens_at_once():
    circuit = ended(Circuit(), FATAL)

    assert phase(circuit, 0.0) == "open"
    assert circuit.reason == "ProviderAuthFailed"


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(None, 1.0), (7.0, 7.0), (-3.0, 0.1), (0.0, 0.1), (math.nan, 0.1), (1e9, 60.0)],
)
def test_a_rate_limit_cools_down_for_as_long_as_it_says_within_bounds(retry_after, seconds):
    circuit = ended(Circuit(), Ruling("cooldown", "RateLimited", retry_after), 100.0)

    assert phase(circuit, 100.0) == "closed"
    assert admit(circuit, CONFIG, 100.0 + seconds - 0.01)[1] is None
    assert admit(circuit, CONFIG, 100.0 + seconds)[1] is not None


def test_a_cooldown_is_never_shortened_by_a_later_one():
    circuit = ended(Circuit(), Ruling("cooldown", "RateLimited", 30.0))

    circuit = ended(circuit, Ruling("cooldown", "RateLimited", 1.0))

    assert circuit.cool_until == 30.0


def test_a_rate_limited_probe_waits_and_stays_half_open():
    circuit = probed(tripped(), Ruling("cooldown", "RateLimited", 5.0), 60.0)

    assert lease(circuit, CONFIG, 64.0)[1] is None
    assert lease(circuit, CONFIG, 65.0)[1] is not None


def test_the_last_closed_circuit_of_a_group_never_trips():
    groups = (frozenset({"a", "b"}), frozenset({"a", "c"}))
    bad = [Outcome(name, Permit(), FATAL) for name in ("a", "b", "c")]

    circuits = settle_all({}, CONFIG, groups, bad, 0.0)

    assert [phase(circuits[name], 0.0) for name in "abc"] == ["open", "closed", "closed"]
    assert is_last(circuits, groups, "b")
    assert not is_last(circuits, groups, "a")


def test_a_provider_is_the_last_where_no_other_s_endpoint_is_closed():
    groups = (frozenset({"p/a", "p/b", "q/c"}),)

    both = settle_all({}, CONFIG, groups, [Outcome(n, Permit(), FATAL) for n in ("p", "q")], 0.0)
    endpoint = settle_all(both, CONFIG, groups, [Outcome("q/c", Permit(), FATAL)], 0.0)

    assert [phase(both[name], 0.0) for name in "pq"] == ["open", "closed"]
    assert phase(endpoint["q/c"], 0.0) == "closed"


def test_an_endpoint_behind_an_open_provider_is_nobody_to_turn_to():
    groups = (frozenset({"p/a", "q/b", "q/c"}),)
    circuits = settle_all({}, CONFIG, groups, [Outcome("q", Permit(), FATAL)], 0.0)

    assert is_last(circuits, groups, "p/a")


def test_the_last_one_trips_once_another_is_back():
    groups = (frozenset({"a", "b"}),)
    bad = [Outcome("a", Permit(), FATAL), Outcome("b", Permit(), FAILURE, 5)]
    circuits = settle_all({}, CONFIG, groups, bad, 0.0)
    circuits["a"] = operate(circuits["a"], "close", 1.0)

    circuits = settle_all(circuits, CONFIG, groups, [Outcome("b", Permit(), FAILURE)], 2.0)

    assert phase(circuits["b"], 2.0) == "open"


def test_an_operator_holds_a_circuit_open_until_it_is_closed_or_reset():
    held = operate(Circuit(), "open", 0.0)
    assert phase(held, 1e12) == "open"
    assert lease(held, CONFIG, 1e12) == (held, None)

    closed = operate(held, "close", 5.0)

    assert phase(closed, 5.0) == "closed"
    assert closed.epoch == held.epoch + 1


def test_close_remembers_the_trips_and_reset_forgets_them():
    cooled = ended(tripped(), Ruling("cooldown", "RateLimited", 30.0), permit=Permit(1))

    closed, reset = operate(cooled, "close", 1.0), operate(cooled, "reset", 1.0)

    assert ended(closed, FAILURE, 1.0, count=5).retry_at == 301.0
    assert ended(reset, FAILURE, 1.0, count=5).retry_at == 61.0
    assert admit(closed, CONFIG, 1.0)[1] is None
    assert admit(reset, CONFIG, 1.0)[1] is not None


def test_a_status_is_told_in_unix_time():
    told = status_of(tripped(10.0), 20.0, 1_000_020.0)
    assert (told.phase, told.epoch, told.retry_at) == ("open", 1, 1_000_070.0)

    assert status_of(tripped(10.0), 70.0, 1_000_070.0).phase == "half-open"
    assert status_of(operate(Circuit(), "open", 0.0), 1.0, 2.0).retry_at is None
    assert status_of(Circuit(cool_until=5.0), 4.0, 104.0).retry_at == 105.0
    assert status_of(Circuit(cool_until=5.0), 6.0, 106.0).retry_at is None


def test_a_word_of_the_authority_replaces_the_circuit():
    opened = adopt(Circuit(), CONFIG, CircuitStatus("open", 7, 160.0, "why"), 100.0)
    assert (phase(opened, 159.0), phase(opened, 160.0)) == ("open", "half-open")
    assert (opened.reason, opened.trips) == ("why", 1)

    closed = adopt(opened, CONFIG, CircuitStatus("closed", 8), 161.0)

    assert phase(closed, 161.0) == "closed"


@pytest.mark.parametrize(
    ("retry_at", "expected"), [(None, math.inf), (1e9, 3700.0), (160.0, 160.0), (90.0, 90.0)]
)
def test_an_adopted_open_time_is_bounded_by_the_longest_back_off(retry_at, expected):
    adopted = adopt(Circuit(), CONFIG, CircuitStatus("open", 7, retry_at), 100.0)

    assert adopted.retry_at == expected


SMALL = BreakerConfig(
    window=30.0,
    min_volume=4,
    consecutive_failures=3,
    successes_to_close=3,
    probes=2,
    probe_lease=8.0,
    cooldowns=(10.0, 20.0, 40.0),
    forgive_after=100.0,
    max_pause=15.0,
)
NAMES = ("a", "b", "c")
GROUPS = (frozenset({"a", "b"}), frozenset({"b", "c"}))


class Breaker(RuleBasedStateMachine):
    """Three endpoints, many calls in flight; the model knows only leases, probes and trips."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.circuits = {name: Circuit() for name in NAMES}
        self.in_flight = []
        self.expiries = {name: {} for name in NAMES}
        self.successes = dict.fromkeys(NAMES, 0)
        self.operated = False

    @rule(dt=st.floats(0, 60))
    def wait(self, dt):
        self.now += dt

    @rule(name=st.sampled_from(NAMES))
    def call(self, name):
        before = self.circuits[name]
        self.circuits[name], permit = admit(before, SMALL, self.now)
        if before.retry_at is not None and self.now < before.retry_at:
            assert permit is None
        if self.now < before.cool_until:
            assert permit is None
        if permit is None:
            return
        self.in_flight.append((name, permit))
        if permit.probe is not None:
            self.expiries[name][permit.probe] = self.now + SMALL.probe_lease

    @rule(name=st.sampled_from(NAMES), n=st.integers(1, 4))
    def burst_of_failures(self, name, n):
        circuit = self.circuits[name]
        self.end(name, Permit(circuit.epoch), FAILURE, n)

    @precondition(lambda self: self.in_flight)
    @rule(
        data=st.data(),
        ruling=st.sampled_from(
            [SUCCESS, SUCCESS, FAILURE, FATAL, NEUTRAL, Ruling("cooldown", "RateLimited", 3.0)]
        ),
    )
    def verdict(self, data, ruling):
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        self.end(*self.in_flight.pop(index), ruling)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def lose(self, data):
        self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))

    @rule(name=st.sampled_from(NAMES), action=st.sampled_from(["open", "close", "reset"]))
    def operate(self, name, action):
        assume(not self.operated)
        self.operated = action == "open"
        self.circuits[name] = operate(self.circuits[name], action, self.now)
        self.successes[name] = 0

    def end(self, name, permit, ruling, n=1):
        before, others_closed = self.circuits[name], self.others_closed(name)
        outcome = Outcome(name, permit, ruling, n)
        self.circuits = settle_all(self.circuits, SMALL, GROUPS, [outcome], self.now)
        after = self.circuits[name]
        self.expiries[name].pop(permit.probe, None)
        if permit.epoch != before.epoch:
            assert replace(after, leases=before.leases) == before
        if before.retry_at is None and after.retry_at is not None:
            assert others_closed
            self.trip(name, before, after)
        elif before.retry_at is not None:
            self.half_open(name, permit, ruling, before, after)

    def half_open(self, name, permit, ruling, before, after):
        if permit.probe is None or permit.epoch != before.epoch:
            return
        if ruling.weight == "success":
            self.successes[name] += 1
            assert (after.retry_at is None) == (self.successes[name] == SMALL.successes_to_close)
        if ruling.verdict == "failure":
            self.trip(name, before, after)
        if after.retry_at is None:
            self.successes[name] = 0

    def trip(self, name, before, after):
        self.successes[name] = 0
        forgiven = before.retry_at is None and self.now - before.closed_at >= 100.0
        step = 0 if forgiven else min(before.trips, 2)
        assert after.retry_at == self.now + SMALL.cooldowns[step]
        assert after.epoch == before.epoch + 1

    def others_closed(self, name):
        return all(
            any(self.circuits[other].retry_at is None for other in group - {name})
            for group in GROUPS
            if name in group
        )

    @invariant()
    def never_more_than_n_probes_at_a_time(self):
        for expiries in self.expiries.values():
            assert sum(self.now < at for at in expiries.values()) <= SMALL.probes

    @invariant()
    def every_group_keeps_one_closed_unless_an_operator_opened_it(self):
        for group in GROUPS:
            assert self.operated or any(self.circuits[name].retry_at is None for name in group)

    @invariant()
    def every_circuit_lets_a_probe_through_in_the_end(self):
        later = self.now + max(SMALL.cooldowns) + SMALL.max_pause
        for circuit in self.circuits.values():
            assert circuit.retry_at == math.inf or admit(circuit, SMALL, later)[1] is not None


TestBreaker = Breaker.TestCase
TestBreaker.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
