"""What is counted: eleven metrics, kept by each replica as plain numbers and merged by the hub.

Counting is dictionary arithmetic, because it is on the path of every request. Labels are
bounded: names that are not configured become `other`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType

from compass_ray.types.events import Attempt, Record
from compass_ray.types.routing import Endpoint
from compass_ray.types.status import CircuitPhase, CircuitStatus

OTHER = "other"
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 8, 12, 20, 30, 60, 120, 300, 600)
"""Upper bounds in seconds: from a cached word to a long answer of a slow model."""

CIRCUIT_VALUES: Mapping[CircuitPhase, int] = MappingProxyType(
    {"closed": 0, "open": 1, "half-open": 2}
)
_STATUSES = frozenset(
    (200, 400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 429, 499, 500, 502, 503, 504)
)
_STATUS_LABELS = {status: str(status) for status in _STATUSES}
_WORST_FIRST = (1, 2, 0)

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Name, labels and help of a counter."""

    name: str
    labels: Labels
    help: str


REQUESTS = Series(
    "compass_requests_total", ("provider", "model", "status"), "Finished requests by HTTP status."
)
TOKENS = Series(
    "compass_tokens_total",
    ("provider", "model", "type"),
    "Tokens; cached_input is a part of input, reasoning a part of output.",
)
COST = Series(
    "compass_cost_dollars", ("provider", "workflow"), "Dollars charged; workflow is the account."
)
CACHE_HITS = Series("compass_cache_hits_total", (), "Answers taken from the cache.")
CACHE_MISSES = Series("compass_cache_misses_total", (), "Cache look-ups without an answer.")
FAILOVERS = Series(
    "compass_failover_total",
    ("provider", "from_model", "to_model"),
    "Attempts moved to another endpoint; provider is the one that failed.",
)
KEYS_REFUSED = Series(
    "compass_keys_refused_total",
    ("provider", "key"),
    "Times that one of several keys left its pool; key is its environment variable.",
)
COUNTERS = (REQUESTS, TOKENS, COST, CACHE_HITS, CACHE_MISSES, FAILOVERS, KEYS_REFUSED)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All numbers of one replica, or of several merged; cost is in micro-dollars.

    `durations` holds per (provider, model) the requests of each bucket, the last one beyond all
    bounds; `seconds` their sums. `circuits` holds a provider's worst circuit: 1 open,
    2 half-open, 0 all closed.
    """

    counters: Mapping[str, Mapping[Labels, int]]
    durations: Mapping[Labels, tuple[int, ...]]
    seconds: Mapping[Labels, float]
    circuits: Mapping[str, int]
    active: int = 0
    queued: int = 0
    concurrency: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By endpoint id, where that is limited: calls allowed at once, and under way."""


class Telemetry:
    """One replica's numbers. `workflows` are the accounts that get a cost series of their own."""

    def __init__(self, endpoints: Iterable[Endpoint], workflows: Iterable[str] = ()) -> None:
        self._names = {endpoint.id: (endpoint.provider, endpoint.model) for endpoint in endpoints}
        self._providers = {provider: provider for provider, _ in self._names.values()}
        self._models = {model: model for _, model in self._names.values()}
        self._workflows = {workflow: workflow for workflow in workflows}
        self._counters: dict[str, defaultdict[Labels, int]] = {
            series.name: defaultdict(int) for series in COUNTERS
        }
        self._requests = self._counters[REQUESTS.name]
        self._tokens = self._counters[TOKENS.name]
        self._cost = self._counters[COST.name]
        self._durations: defaultdict[Labels, list[int]] = defaultdict(
            lambda: [0] * (len(BUCKETS) + 1)
        )
        self._seconds: defaultdict[Labels, float] = defaultdict(float)
        self._circuits = dict.fromkeys(self._providers, 0)
        self._active = 0
        self._queued = 0
        self._concurrency: Mapping[str, tuple[int, int]] = {}

    def record(self, record: Record) -> None:
        """Count a finished request; one that nobody answered goes to the last one tried."""
        provider = self._providers.get(record.provider, OTHER)
        model = self._models.get(record.model, OTHER)
        if not record.provider and record.attempts:
            provider, model = self._named(record.attempts[-1])
        self._requests[provider, model, _STATUS_LABELS.get(record.status, OTHER)] += 1
        names = (provider, model)
        self._durations[names][bisect_left(BUCKETS, record.seconds)] += 1
        self._seconds[names] += record.seconds
        usage = record.usage
        self._tokens[provider, model, "input"] += usage.input_tokens
        self._tokens[provider, model, "output"] += usage.output_tokens
        if usage.cached_input_tokens:
            self._tokens[provider, model, "cached_input"] += usage.cached_input_tokens
        if usage.reasoning_tokens:
            self._tokens[provider, model, "reasoning"] += usage.reasoning_tokens
        if record.cost:
            self._cost[provider, self._workflows.get(record.account, OTHER)] += record.cost
        if len(record.attempts) > 1:
            self._count_failovers(record.attempts)

    def active(self, change: int) -> None:
        """Add to the number of requests in progress."""
        self._active += change

    def key_refused(self, provider: str, variable: str) -> None:
        """Count that a provider does not accept the key in that environment variable."""
        self._counters[KEYS_REFUSED.name][provider, variable] += 1

    def queued(self, change: int) -> None:
        """Add to the number of requests that wait to begin."""
        self._queued += change

    def circuits(self, statuses: Mapping[str, CircuitStatus]) -> None:
        """Replace the circuits' states; one of `statuses` that is left out is closed.

        They are by endpoint id, or a provider's name.
        """
        values: dict[str, list[int]] = {provider: [0] for provider in self._providers}
        for name, status in statuses.items():
            provider = self._names[name][0] if name in self._names else name
            if provider in values:
                values[provider].append(CIRCUIT_VALUES[status.phase])
        self._circuits = {provider: _worst(found) for provider, found in values.items()}

    def concurrency(self, loads: Mapping[str, tuple[int, int]]) -> None:
        """Replace what is allowed and under way at the endpoints whose calls are limited."""
        self._concurrency = loads

    def snapshot(self) -> Snapshot:
        """Return a copy of all numbers since the start of this replica."""
        return Snapshot(
            counters={name: dict(values) for name, values in self._counters.items()},
            durations={names: tuple(counts) for names, counts in self._durations.items()},
            seconds=dict(self._seconds),
            circuits=dict(self._circuits),
            active=self._active,
            queued=self._queued,
            concurrency=self._concurrency,
        )

    def _count_failovers(self, attempts: Iterable[Attempt]) -> None:
        for tried, following in pairwise(attempts):
            if not tried.ok and tried.endpoint != following.endpoint:
                provider, from_model = self._named(tried)
                _, to_model = self._named(following)
                self._counters[FAILOVERS.name][provider, from_model, to_model] += 1

    def _named(self, attempt: Attempt) -> tuple[str, str]:
        return self._names.get(attempt.endpoint, (OTHER, OTHER))


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sum: counters and gauges added, the worst state of each circuit."""
    counters: dict[str, defaultdict[Labels, int]] = {
        series.name: defaultdict(int) for series in COUNTERS
    }
    durations: dict[Labels, tuple[int, ...]] = {}
    seconds: defaultdict[Labels, float] = defaultdict(float)
    circuits: dict[str, int] = {}
    concurrency: dict[str, tuple[int, int]] = {}
    active = queued = 0
    for snapshot in snapshots:
        for name, values in snapshot.counters.items():
            for labels, value in values.items():
                counters[name][labels] += value
        for names, counts in snapshot.durations.items():
            before = durations.get(names, (0,) * len(counts))
            durations[names] = tuple(map(int.__add__, before, counts))
            seconds[names] += snapshot.seconds[names]
        for provider, value in snapshot.circuits.items():
            circuits[provider] = _worst((value, circuits.get(provider, 0)))
        for name, (limit, in_flight) in snapshot.concurrency.items():
            allowed, under_way = concurrency.get(name, (0, 0))
            concurrency[name] = allowed + limit, under_way + in_flight
        active += snapshot.active
        queued += snapshot.queued
    return Snapshot(counters, durations, seconds, circuits, active, queued, concurrency)


def without_gauges(snapshot: Snapshot) -> Snapshot:
    """Return what remains true of a replica that is gone: its counters."""
    return replace(snapshot, circuits={}, active=0, queued=0, concurrency={})


def _worst(values: Iterable[int]) -> int:
    return min(values, key=_WORST_FIRST.index)
