"""How the numbers are shown: Prometheus' text format, and JSON. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from compass_ray.telemetry import (
    BUCKETS,
    CACHE_HITS,
    CACHE_MISSES,
    CIRCUIT_VALUES,
    COST,
    COUNTERS,
    FAILOVERS,
    REQUESTS,
    TOKENS,
    Labels,
    Series,
    Snapshot,
)
from compass_ray.types.money import Alert
from compass_ray.types.shifts import Shift
from compass_ray.types.usage import MICRO

_PHASES = {value: phase for phase, value in CIRCUIT_VALUES.items()}
_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def exposition(snapshot: Snapshot, alerts: Iterable[Alert | Shift] = ()) -> bytes:
    """Return the metrics in Prometheus' text format, version 0.0.4."""
    cost = generate_latest(_Families([_counter(snapshot, COST)]))
    # The library ends every counter's name in _total; the documented name does not.
    families = [*_families(snapshot), *_alerts(list(alerts))]
    return generate_latest(_Families(families)) + cost.replace(
        f"{COST.name}_total".encode(), COST.name.encode()
    )


def summary(snapshot: Snapshot) -> dict[str, object]:
    """Return the same numbers as JSON-ready values; money is integer micro-dollars."""
    counters = snapshot.counters
    latency = [sum(counts) for counts in zip(*snapshot.durations.values(), strict=True)]
    return {
        "requests": {
            "total": sum(counters[REQUESTS.name].values()),
            "by_status": _by(counters[REQUESTS.name], 2),
            "by_provider": _by(counters[REQUESTS.name], 0),
            "by_model": _by(counters[REQUESTS.name], 1),
        },
        "latency_seconds": {name: _quantile(latency, share) for name, share in _QUANTILES},
        "tokens": _by(counters[TOKENS.name], 2),
        "cost_micro_usd": {
            "total": sum(counters[COST.name].values()),
            "by_provider": _by(counters[COST.name], 0),
            "by_workflow": _by(counters[COST.name], 1),
        },
        "cache": {
            "hits": sum(counters[CACHE_HITS.name].values()),
            "misses": sum(counters[CACHE_MISSES.name].values()),
        },
        "failovers": sum(counters[FAILOVERS.name].values()),
        "circuits": {
            provider: _PHASES[value] for provider, value in sorted(snapshot.circuits.items())
        },
        "active_tasks": snapshot.active,
        "queue_depth": snapshot.queued,
    }


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(snapshot: Snapshot) -> Iterator[Metric]:
    for series in COUNTERS:
        if series is not COST:
            yield _counter(snapshot, series)
    durations = HistogramMetricFamily(
        "compass_requests_duration_seconds",
        "Seconds from a request's arrival to the end of its answer.",
        labels=("provider", "model"),
    )
    bounds = (*(str(float(bound)) for bound in BUCKETS), "+Inf")
    for names, counts in sorted(snapshot.durations.items()):
        cumulated = list(zip(bounds, accumulate(counts), strict=True))
        durations.add_metric(names, cumulated, snapshot.seconds[names])
    yield durations
    circuits = GaugeMetricFamily(
        "compass_circuit_breaker_state",
        "The provider's worst circuit: 0 closed, 1 open, 2 half-open.",
        labels=("provider",),
    )
    for provider, value in sorted(snapshot.circuits.items()):
        circuits.add_metric((provider,), value)
    yield circuits
    yield GaugeMetricFamily("compass_active_tasks", "Requests in progress.", snapshot.active)
    yield GaugeMetricFamily("compass_queue_depth", "Requests that wait.", snapshot.queued)
    if snapshot.concurrency:
        yield from _concurrency(snapshot.concurrency)


def _concurrency(found: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    limits = GaugeMetricFamily(
        "compass_concurrency_limit",
        "Calls at once that an endpoint is believed to take, of all replicas.",
        labels=("endpoint",),
    )
    in_flight = GaugeMetricFamily(
        "compass_concurrency_in_flight", "Calls under way at an endpoint.", labels=("endpoint",)
    )
    for name, (limit, under_way) in sorted(found.items()):
        limits.add_metric((name,), limit)
        in_flight.add_metric((name,), under_way)
    yield limits
    yield in_flight


def _alerts(alerts: Sequence[Alert | Shift]) -> Iterator[Metric]:
    budgets = CounterMetricFamily(
        "compass_budget_alerts_total",
        "Budgets of which so many percent were used.",
        labels=("account", "unit", "threshold"),
    )
    drift = CounterMetricFamily(
        "compass_drift_alerts_total",
        "Drift of what an endpoint's answers to a type of task are like.",
        labels=("endpoint", "task_type", "trait"),
    )
    counts = Counter(
        (one.account, one.unit, str(one.percent)) for one in alerts if isinstance(one, Alert)
    )
    shifts = Counter(
        (one.stream.endpoint, one.stream.task, str(one.stream.trait))
        for one in alerts
        if isinstance(one, Shift)
    )
    for family, found in ((budgets, counts), (drift, shifts)):
        for labels, count in sorted(found.items()):
            family.add_metric(labels, count)
        yield family


def _counter(snapshot: Snapshot, series: Series) -> Metric:
    family = CounterMetricFamily(series.name, series.help, labels=series.labels)
    values = snapshot.counters.get(series.name, {})
    if not series.labels:
        family.add_metric((), values.get((), 0))
    for labels, value in sorted(values.items()) if series.labels else ():
        family.add_metric(labels, value / MICRO if series is COST else value)
    return family


def _by(values: Mapping[Labels, int], position: int) -> dict[str, int]:
    sums: defaultdict[str, int] = defaultdict(int)
    for labels, value in sorted(values.items()):
        sums[labels[position]] += value
    return dict(sums)


def _quantile(counts: Sequence[int], share: float) -> float | None:
    """Return an estimate, linear inside its bucket; the last bound for what lies beyond it."""
    rank = share * sum(counts)
    below = 0
    for lower, upper, count in zip((0.0, *BUCKETS), BUCKETS, counts, strict=False):
        if count and below + count >= rank:
            return round(lower + (upper - lower) * (rank - below) / count, 4)
        below += count
    return float(BUCKETS[-1]) if rank else None
