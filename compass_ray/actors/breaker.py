"""Breaker actor: one circuit per endpoint, the authority for every gateway replica.

Load, decide, store; every decision is `policy.breaker`'s. The circuits are in memory only. After a
restart all are closed here, which is safe: a replica goes on with what it last heard, leases its
probes from the restarted actor, and its reports open here what still fails.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from compass_ray.actors.watch import Versioned
from compass_ray.policy.breaker import (
    Action,
    BreakerConfig,
    Circuit,
    Groups,
    Outcome,
    Permit,
    lease,
    operate,
    settle_all,
    status_of,
)
from compass_ray.types.status import CircuitStatus

_log = logging.getLogger("compass.breaker")


class BreakerActor:
    """Circuits by endpoint id.

    `groups` are the sets of endpoints of which one always stays closed; leave out endpoints that
    cannot be called at all, such as those of a provider without a key. `clock` is monotonic
    seconds, `wall` Unix seconds. Epochs are told with this incarnation's birth time added, so
    that replicas take a restarted actor's words for newer ones.
    """

    def __init__(
        self,
        config: BreakerConfig | None = None,
        groups: Groups = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config or BreakerConfig()
        self._groups = groups
        self._clock = clock
        self._wall = wall
        self._born = int(wall() * 1000)
        self._circuits: Mapping[str, Circuit] = {}
        self._announced: Versioned[Mapping[str, Circuit]] = Versioned({}, wall)

    async def report(self, replica: str, outcomes: tuple[Outcome, ...]) -> None:
        """Count what a replica saw, in its order."""
        own = (replace(outcome, permit=self._own(outcome.permit)) for outcome in outcomes)
        circuits = settle_all(self._circuits, self._config, self._groups, own, self._clock())
        self._store(circuits, f"a report of replica {replica!r}")

    async def watch(self, version: int, wait: float) -> tuple[int, dict[str, CircuitStatus]]:
        """Return version and circuits once they differ from `version`, or after `wait` seconds.

        An endpoint that never tripped nor cooled down may be missing.
        """
        current, circuits = await self._announced.wait(version, wait)
        return current, self._told(circuits)

    async def lease_probe(
        self, endpoint_id: str, replica: str, holding: tuple[Permit, ...] = ()
    ) -> Permit | None:
        """Return a probe's permit, or None when none is free or it is too early.

        The probes that the replica is `holding` are renewed; others of its are free again.
        """
        circuit = self._circuits.get(endpoint_id, Circuit())
        known = {one.probe for one in holding if one.epoch >= self._born and one.probe is not None}
        circuit, permit = lease(circuit, self._config, self._clock(), replica, known)
        self._circuits = {**self._circuits, endpoint_id: circuit}
        if permit is None:
            return None
        _log.info("probe of %r leased to replica %r", endpoint_id, replica)
        return replace(permit, epoch=self._born + permit.epoch)

    async def operate(self, endpoint_id: str, action: Action) -> CircuitStatus:
        """Open, close or reset a circuit by hand, and return what it is now."""
        now = self._clock()
        circuit = operate(self._circuits.get(endpoint_id, Circuit()), action, now)
        self._store({**self._circuits, endpoint_id: circuit}, f"action {action!r}")
        return self._told({endpoint_id: circuit})[endpoint_id]

    async def snapshot(self) -> dict[str, CircuitStatus]:
        """Return every circuit of which there was news."""
        return self._told(self._circuits)

    def _store(self, circuits: Mapping[str, Circuit], cause: str) -> None:
        before, self._circuits = self._circuits, circuits
        changed = [
            name
            for name, circuit in circuits.items()
            if _visible(circuit) != _visible(before.get(name, Circuit()))
        ]
        for name in changed:
            status = self._told({name: circuits[name]})[name]
            _log.warning("circuit %r after %s: %s", name, cause, status)
        if changed:
            self._announced.set(circuits)

    def _told(self, circuits: Mapping[str, Circuit]) -> dict[str, CircuitStatus]:
        now, unix = self._clock(), self._wall()
        statuses = ((name, status_of(circuit, now, unix)) for name, circuit in circuits.items())
        return {name: replace(status, epoch=self._told_epoch(status)) for name, status in statuses}

    def _told_epoch(self, status: CircuitStatus) -> int:
        return self._born + status.epoch if status.epoch else 0

    def _own(self, permit: Permit) -> Permit:
        """Translate an epoch told; one of an earlier incarnation, or none, dates from before."""
        return replace(permit, epoch=max(0, permit.epoch - self._born))


def _visible(circuit: Circuit) -> tuple[int, float]:
    return circuit.epoch, circuit.cool_until
