import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from compass_ray.exposition import exposition, summary
from compass_ray.telemetry import Telemetry, merge
from compass_ray.types.events import Attempt, Record
from compass_ray.types.money import Alert
from compass_ray.types.routing import Endpoint, Tier
from compass_ray.types.shifts import Shift, Stream
from compass_ray.types.status import CircuitStatus
from compass_ray.types.usage import Usage

DOCUMENTED = {
    "compass_requests_total": ("counter", {"provider", "model", "status"}),
    "compass_requests_duration_seconds": ("histogram", {"provider", "model", "le"}),
    "compass_tokens_total": ("counter", {"provider", "model", "type"}),
    "compass_cost_dollars": ("counter", {"provider", "workflow"}),
    "compass_cache_hits_total": ("counter", set()),
    "compass_cache_misses_total": ("counter", set()),
    "compass_failover_total": ("counter", {"provider", "from_model", "to_model"}),
    "compass_circuit_breaker_state": ("gauge", {"provider"}),
    "compass_active_tasks": ("gauge", set()),
    "compass_queue_depth": ("gauge", set()),
    "compass_keys_refused_total": ("counter", {"provider", "key"}),
    "compass_budget_alerts_total": ("counter", {"account", "unit", "threshold"}),
    "compass_drift_alerts_total": ("counter", {"endpoint", "task_type", "trait"}),
}
ALERTS = [
    Alert("org@lifetime", "org", "usd", 75, 80, 100, 0.0),
    Shift(Stream("code", "openai/gpt", "latency"), 1.0, 2.0, 50, 0.0),
]


@pytest.fixture
def snapshot():
    endpoints = [
        Endpoint("openai", "gpt", "gpt", Tier.PREMIUM, 1000, 100),
        Endpoint("hf", 'we"ird\nname', "x", Tier.FAST, 1000, 100),
    ]
    telemetry = Telemetry(endpoints, workflows=["org/team"])
    failed = Attempt('hf/we"ird\nname', ok=False, seconds=0.2, error="Overloaded")
    done = Attempt("openai/gpt", ok=True, seconds=0.5)
    usage = Usage(100, 20)
    for status, attempts in ((200, (failed, done)), (200, (done,)), (502, (failed,))):
        telemetry.record(
            Record(
                request_id="r",
                account="org/team",
                key_name="alice",
                provider="openai" if status == 200 else "",
                model="gpt" if status == 200 else "",
                tier=1,
                status=status,
                stream=False,
                attempts=attempts,
                usage=usage,
                cost=1_250_000,
                seconds=0.7,
                ttft=0.1,
                at=0.0,
            )
        )
    telemetry.circuits({"openai/gpt": CircuitStatus("half-open")})
    telemetry.active(3)
    telemetry.queued(1)
    return telemetry.snapshot()


def test_the_documented_metrics_have_their_exact_names_and_types(snapshot):
    text = exposition(snapshot, ALERTS).decode()

    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert types == {name: kind for name, (kind, _) in DOCUMENTED.items()}
    assert dict.fromkeys(re.findall(r"^# HELP (\S+)", text, re.MULTILINE)).keys() == types.keys()


def test_the_limits_of_calls_at_once_are_shown_where_there_are_some(snapshot):
    limited = replace(snapshot, concurrency={"openai/gpt": (8, 3)})

    text = exposition(limited).decode()

    assert 'compass_concurrency_limit{endpoint="openai/gpt"} 8.0' in text
    assert 'compass_concurrency_in_flight{endpoint="openai/gpt"} 3.0' in text
    assert "concurrency" not in exposition(snapshot).decode()


def test_every_sample_belongs_to_its_metric_and_has_the_documented_labels(snapshot):
    text = exposition(snapshot, ALERTS).decode()

    for line in text.splitlines():
        if not line.startswith("#"):
            name = re.match(r"\w+", line)[0]
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            labels = set(re.findall(r'(\w+)="', line))
            assert labels in (DOCUMENTED[base][1], DOCUMENTED[base][1] - {"le"})


def test_a_parser_reads_the_values_back(snapshot):
    families = text_string_to_metric_families(exposition(snapshot, ALERTS).decode())

    values = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    openai, gpt = ("provider", "openai"), ("model", "gpt")
    assert values["compass_requests_total", (gpt, openai, ("status", "200"))] == 2
    # The parser knows counters by names in _total only and adds it.
    assert values["compass_cost_dollars_total", (openai, ("workflow", "org/team"))] == 2.5
    assert values["compass_requests_duration_seconds_count", (gpt, openai)] == 2
    assert values["compass_requests_duration_seconds_bucket", (("le", "0.5"), gpt, openai)] == 0
    assert values["compass_requests_duration_seconds_bucket", (("le", "1.0"), gpt, openai)] == 2
    assert values["compass_cache_hits_total", ()] == 0
    drift = ("endpoint", "openai/gpt"), ("task_type", "code"), ("trait", "latency")
    assert values["compass_drift_alerts_total", drift] == 1
    assert values["compass_circuit_breaker_state", (openai,)] == 2
    assert values["compass_active_tasks", ()] == 3
    weird = ("from_model", 'we"ird\nname'), ("provider", "hf"), ("to_model", "gpt")
    assert values["compass_failover_total", weird] == 1


def test_nothing_counted_is_still_a_valid_exposition():
    text = exposition(merge(())).decode()

    names = {family.name for family in text_string_to_metric_families(text)}
    assert len(names) == len(DOCUMENTED)
    assert "compass_cache_hits_total 0.0\n" in text


def test_the_summary_says_the_same_in_json(snapshot):
    found = summary(merge([snapshot]))

    assert found["requests"]["total"] == 3
    assert found["requests"]["by_status"] == {"200": 2, "502": 1}
    assert found["cost_micro_usd"]["total"] == 3_750_000
    assert found["tokens"] == {"input": 300, "output": 60}
    assert found["circuits"] == {"hf": "closed", "openai": "half-open"}
    assert found["failovers"] == 1
    assert found["active_tasks"] == 3
    assert found["latency_seconds"] == {"p50": 0.75, "p95": 0.975, "p99": 0.995}


def test_the_summary_of_nothing_has_no_latency():
    assert summary(merge(()))["latency_seconds"] == {"p50": None, "p95": None, "p99": None}
