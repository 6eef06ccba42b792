import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.telemetry import (
    COST,
    FAILOVERS,
    KEYS_REFUSED,
    REQUESTS,
    TOKENS,
    Telemetry,
    merge,
    without_gauges,
)
from compass_ray.types.events import Attempt, Record
from compass_ray.types.routing import Endpoint, Tier
from compass_ray.types.status import CircuitStatus
from compass_ray.types.usage import Usage

ENDPOINTS = [
    Endpoint("openai", "gpt", "gpt", Tier.PREMIUM, 1000, 100),
    Endpoint("hf", "meta/llama", "llama", Tier.FAST, 1000, 100, region="eu"),
]


def record(**changes):
    fields = {
        "request_id": "r",
        "account": "org/team",
        "key_name": "alice",
        "provider": "openai",
        "model": "gpt",
        "tier": 1,
        "status": 200,
        "stream": False,
        "attempts": (Attempt("openai/gpt", ok=True, seconds=0.7),),
        "usage": Usage(100, 20, cached_input_tokens=30, reasoning_tokens=5),
        "cost": 1500,
        "seconds": 0.7,
        "ttft": 0.2,
        "at": 0.0,
    }
    return Record(**(fields | changes))


@pytest.fixture
def telemetry():
    return Telemetry(ENDPOINTS, workflows=["org/team"])


def test_a_request_is_counted_with_its_tokens_and_its_money(telemetry):
    telemetry.record(record())
    telemetry.record(record())

    counters = telemetry.snapshot().counters
    assert counters[REQUESTS.name] == {("openai", "gpt", "200"): 2}
    assert counters[COST.name] == {("openai", "org/team"): 3000}
    assert counters[TOKENS.name] == {
        ("openai", "gpt", "input"): 200,
        ("openai", "gpt", "output"): 40,
        ("openai", "gpt", "cached_input"): 60,
        ("openai", "gpt", "reasoning"): 10,
    }


def test_a_duration_falls_into_the_bucket_that_ends_at_it(telemetry):
    for seconds in (0.5, 0.51, 10_000.0):
        telemetry.record(record(seconds=seconds))

    counts = telemetry.snapshot().durations["openai", "gpt"]
    assert [index for index, count in enumerate(counts) if count] == [3, 4, 17]


@given(st.lists(st.tuples(st.text(), st.text(), st.integers(), st.text()), max_size=50))
def test_names_from_outside_never_make_a_new_series(names):
    telemetry = Telemetry(ENDPOINTS, workflows=["org/team"])
    for provider, model, status, account in names:
        tried = (Attempt("x/y", ok=False, seconds=0.1), Attempt(model, ok=True, seconds=0.1))
        telemetry.record(
            record(provider=provider, model=model, status=status, account=account, attempts=tried)
        )

    known = {"openai", "gpt", "hf", "meta/llama", "other"}
    for labels in telemetry.snapshot().durations:
        assert set(labels) <= known
    counters = telemetry.snapshot().counters
    for provider, model, status in counters[REQUESTS.name]:
        assert {provider, model} <= known
        assert status == "other" or status.isdigit()
    assert {workflow for _, workflow in counters[COST.name]} <= {"org/team", "other"}
    assert set(counters[FAILOVERS.name]) <= {("other", "other", "other")}


def test_a_move_to_another_endpoint_is_a_failover_and_a_retry_is_none(telemetry):
    tried = [
        Attempt("openai/gpt", ok=False, seconds=0.1),
        Attempt("openai/gpt", ok=False, seconds=0.1),
        Attempt("hf/meta/llama@eu", ok=True, seconds=0.1),
    ]
    telemetry.record(record(provider="hf", model="meta/llama", attempts=tuple(tried)))

    failovers = telemetry.snapshot().counters[FAILOVERS.name]
    assert failovers == {("openai", "gpt", "meta/llama"): 1}


def test_a_second_attempt_beside_one_that_answers_is_no_failover(telemetry):
    tried = [
        Attempt("openai/gpt", ok=True, seconds=0.1),
        Attempt("hf/meta/llama@eu", ok=False, seconds=0.1, error="Cancelled"),
    ]
    telemetry.record(record(provider="openai", model="gpt", attempts=tuple(tried)))

    assert telemetry.snapshot().counters[FAILOVERS.name] == {}


def test_a_request_that_nobody_answered_goes_to_the_last_one_tried(telemetry):
    telemetry.record(record(provider="", model="", status=502))
    telemetry.record(record(provider="", model="", status=503, attempts=()))

    assert telemetry.snapshot().counters[REQUESTS.name] == {
        ("openai", "gpt", "502"): 1,
        ("other", "other", "503"): 1,
    }


def test_a_provider_shows_its_worst_circuit(telemetry):
    assert telemetry.snapshot().circuits == {"openai": 0, "hf": 0}

    telemetry.circuits(
        {"openai/gpt": CircuitStatus("half-open"), "hf/meta/llama@eu": CircuitStatus("open")}
    )
    assert telemetry.snapshot().circuits == {"openai": 2, "hf": 1}

    telemetry.circuits({"unknown/x": CircuitStatus("open")})
    assert telemetry.snapshot().circuits == {"openai": 0, "hf": 0}


def test_a_snapshot_travels_and_does_not_change_afterwards(telemetry):
    telemetry.record(record())
    telemetry.active(2)
    snapshot = pickle.loads(pickle.dumps(telemetry.snapshot()))
    telemetry.record(record())
    telemetry.active(-1)

    assert snapshot.counters[REQUESTS.name] == {("openai", "gpt", "200"): 1}
    assert (snapshot.active, telemetry.snapshot().active) == (2, 1)


def test_merging_adds_everything_and_takes_the_worst_circuit():
    one, two = Telemetry(ENDPOINTS), Telemetry(ENDPOINTS)
    for telemetry, phase in ((one, "half-open"), (two, "open")):
        telemetry.record(record())
        telemetry.active(1)
        telemetry.queued(3)
        telemetry.circuits({"openai/gpt": CircuitStatus(phase)})
        telemetry.concurrency({"openai/gpt": (8, 3)})

    total = merge([one.snapshot(), two.snapshot()])

    assert total.counters[COST.name] == {("openai", "other"): 3000}
    assert sum(total.durations["openai", "gpt"]) == 2
    assert total.seconds["openai", "gpt"] == pytest.approx(1.4)
    assert total.circuits == {"openai": 1, "hf": 0}
    assert (total.active, total.queued) == (2, 6)
    assert total.concurrency == {"openai/gpt": (16, 6)}


def test_without_gauges_only_counters_remain(telemetry):
    telemetry.record(record())
    telemetry.active(1)
    telemetry.concurrency({"openai/gpt": (8, 3)})

    rest = without_gauges(telemetry.snapshot())

    assert (rest.active, rest.queued, rest.circuits, rest.concurrency) == (0, 0, {}, {})
    assert rest.counters == telemetry.snapshot().counters


def test_money_beyond_what_a_float_holds_stays_exact(telemetry):
    telemetry.record(record(cost=2**53))
    telemetry.record(record(cost=1))

    assert telemetry.snapshot().counters[COST.name]["openai", "org/team"] == 2**53 + 1


def test_keys_that_leave_their_pool_are_counted_over_all_replicas():
    replicas = [Telemetry(ENDPOINTS), Telemetry(ENDPOINTS)]

    for one in replicas:
        one.key_refused("openai", "OPENAI_API_KEY_2")

    merged = merge([one.snapshot() for one in replicas])
    assert merged.counters[KEYS_REFUSED.name] == {("openai", "OPENAI_API_KEY_2"): 2}
