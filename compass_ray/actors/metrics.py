"""Metrics hub: all replicas' numbers in one place, for `/metrics` and `/api/v1/metrics`.

Replicas push all their numbers about every second. Those of a replica that is gone stay in the
sums, so that no counter falls. After a restart of the hub the living replicas' totals are back
with their next push, and what the dead had counted is missing: a counter reset, which Prometheus
knows how to read.
"""

import time
from collections.abc import Callable, Sequence

from compass_ray.exposition import exposition, summary
from compass_ray.telemetry import Snapshot, merge, without_gauges
from compass_ray.types.money import Alert
from compass_ray.types.shifts import Shift

GAUGES_FOR = 10.0
"""Seconds after its last push for which a replica counts as running."""
_KEPT_FOR = 3600.0
"""Seconds after which a silent replica is surely gone: its numbers become part of one sum."""


class MetricsHub:
    """The latest numbers of each replica. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: dict[str, tuple[float, Snapshot]] = {}
        self._gone = merge(())

    async def push(self, replica: str, snapshot: Snapshot) -> None:
        """Replace what `replica` counted; the name belongs to one process and never returns."""
        now = self._clock()
        self._latest[replica] = now, snapshot
        silent = [name for name, (at, _) in self._latest.items() if now - at >= _KEPT_FOR]
        gone = [without_gauges(self._latest.pop(name)[1]) for name in silent]
        if gone:
            self._gone = merge((self._gone, *gone))

    async def exposition(self, alerts: Sequence[Alert | Shift]) -> bytes:
        """Return all replicas' metrics, and these alerts, in Prometheus' text format."""
        return exposition(self._total(), alerts)

    async def summary(self) -> dict[str, object]:
        """Return all replicas' metrics as JSON-ready values."""
        running = sum(self._is_running(at) for at, _ in self._latest.values())
        return {"replicas": running, **summary(self._total())}

    def _total(self) -> Snapshot:
        latest = (
            snapshot if self._is_running(at) else without_gauges(snapshot)
            for at, snapshot in self._latest.values()
        )
        return merge((self._gone, *latest))

    def _is_running(self, at: float) -> bool:
        return self._clock() - at < GAUGES_FOR
