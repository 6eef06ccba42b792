"""Circuit-breaker policy: when may an endpoint be called, or a whole provider?

Pure: no clock, no I/O, no Ray. `now` is seconds on the caller's clock.

    closed ── trip: > 20 % of ≥ 10 calls in 60 s, or 5 failures in a row, or a fatal one ──► open
    open ── the back-off is over (1, 5, 15, 60 min) ──► half-open
    half-open ── 3 probes succeed ──► closed            half-open ── a probe fails ──► open

Half-open is not stored: it is an open circuit whose back-off is over, so no timer is needed.
A provider's circuit goes by its name, and stands before those of all its endpoints; what it counts
is whether anybody is there (`policy.verdict`).
The last closed circuit of a group never trips: with nothing else to turn to, an endpoint that
answers sometimes is better than none.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from compass_ray.policy.verdict import Ruling
from compass_ray.policy.window import Window, count
from compass_ray.types.status import CircuitPhase, CircuitStatus

Action = Literal["open", "close", "reset"]
Groups = tuple[frozenset[str], ...]
"""Sets of endpoint ids that can stand in for each other; each keeps one circuit closed."""

_BUCKETS = 12


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When a circuit opens, for how long, and how it closes again. Times are in seconds."""

    failure_rate: float = 0.2
    """Opens above this share of failed calls in the window..."""
    window: float = 60.0
    min_volume: int = 10
    """...once the window holds this many calls."""
    consecutive_failures: int = 5
    successes_to_close: int = 3
    cooldowns: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
    """Open time of the first, second, ... trip; the last one repeats."""
    forgive_after: float = 600.0
    """A circuit that stayed closed for so long starts again with the first back-off."""
    probes: int = 1
    """Probes on lease at the same time."""
    probe_lease: float = 3.0
    """A probe that its holder has not renewed for so long is lost and frees its slot."""
    pause: float = 1.0
    """After a rate limit without a word on when to retry."""
    min_pause: float = 0.1
    max_pause: float = 60.0


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to one call. `epoch` dates it; `probe` names a half-open circuit's lease."""

    epoch: int = 0
    probe: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A probe that somebody may be running until `expires_at`, unless he renews it."""

    probe: int
    holder: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`count` calls of one endpoint that ended alike under one permit."""

    endpoint_id: str
    permit: Permit
    ruling: Ruling
    count: int = 1


@dataclass(frozen=True, slots=True)
class Circuit:
    """State of one circuit; it is closed while `retry_at` is None.

    `retry_at` is infinite while an operator holds the circuit open. `epoch` grows with every
    trip, close and manual operation: news of a call admitted in an earlier epoch is stale.
    """

    epoch: int = 0
    retry_at: float | None = None
    cool_until: float = -math.inf
    failures: int = 0
    """In a row."""
    window: Window = field(default_factory=Window)
    trips: int = 0
    closed_at: float = -math.inf
    successes: int = 0
    """Of probes, since half-open."""
    leases: tuple[Lease, ...] = ()
    """Of probes. They outlive changes of phase: a lost probe may still be running."""
    next_probe: int = 0
    reason: str = ""


def phase(circuit: Circuit, now: float) -> CircuitPhase:
    """Return the phase at `now`."""
    if circuit.retry_at is None:
        return "closed"
    return "open" if now < circuit.retry_at else "half-open"


def admit(circuit: Circuit, config: BreakerConfig, now: float) -> tuple[Circuit, Permit | None]:
    """Return the next state and a permit, or None while the endpoint may not be called."""
    if now < circuit.cool_until:
        return circuit, None
    if circuit.retry_at is None:
        return circuit, Permit(circuit.epoch)
    return lease(circuit, config, now)


def lease(
    circuit: Circuit,
    config: BreakerConfig,
    now: float,
    holder: str = "",
    holding: Collection[int] | None = None,
) -> tuple[Circuit, Permit | None]:
    """Return the next state and a probe's permit, or None when none is free or it is too early.

    `holding` are the probes that the holder knows of: they are renewed, and a probe of his that he
    does not know of never reached him, or its news was lost: it is free. None leaves all as it is.
    A closed circuit leases probes too: to a replica that alone found the endpoint failing.
    """
    until = now + config.probe_lease
    if holding is not None:
        held = (one for one in circuit.leases if one.holder != holder or one.probe in holding)
        renewed = (replace(one, expires_at=until) if one.holder == holder else one for one in held)
        circuit = replace(circuit, leases=tuple(renewed))
    if now < circuit.cool_until or phase(circuit, now) == "open":
        return circuit, None
    running = tuple(one for one in circuit.leases if now < one.expires_at)
    if len(running) >= config.probes:
        return circuit, None
    probe = circuit.next_probe
    leases = (*running, Lease(probe, holder, until))
    return replace(circuit, leases=leases, next_probe=probe + 1), Permit(circuit.epoch, probe)


def settle(
    circuit: Circuit, config: BreakerConfig, outcome: Outcome, now: float, *, last: bool = False
) -> Circuit:
    """Return the state after the calls of `outcome` have ended.

    `last` says that no other circuit of a group is closed: then this one does not trip.
    The news of a lost probe still counts, if nothing has changed since.
    """
    permit, ruling = outcome.permit, outcome.ruling
    if permit.probe is not None:
        held = tuple(one for one in circuit.leases if one.probe != permit.probe)
        circuit = replace(circuit, leases=held)
    if permit.epoch < circuit.epoch or ruling.weight == "neutral":
        return circuit
    if ruling.weight == "cooldown":
        return cool(circuit, now + _pause(config, ruling.retry_after))
    if circuit.retry_at is None:
        return _count(circuit, config, outcome, now, last=last)
    if permit.probe is None:
        return circuit  # nobody was asked to probe: it says nothing on recovery
    return _probed(circuit, config, ruling, now)


def settle_all(
    circuits: Mapping[str, Circuit],
    config: BreakerConfig,
    groups: Groups,
    outcomes: Iterable[Outcome],
    now: float,
) -> dict[str, Circuit]:
    """Return all circuits after `outcomes`, in their order; a new endpoint starts closed."""
    after = dict(circuits)
    for outcome in outcomes:
        name = outcome.endpoint_id
        last = outcome.ruling.verdict == "failure" and is_last(after, groups, name)
        after[name] = settle(after.get(name, Circuit()), config, outcome, now, last=last)
    return after


def is_last(circuits: Mapping[str, Circuit], groups: Groups, name: str) -> bool:
    """Return whether tripping a circuit would leave a group that it concerns with none closed."""
    for group in groups:
        others = [one for one in group if name not in (one, provider_of(one))]
        if len(others) < len(group) and not any_closed(circuits, others):
            return True
    return False


def any_closed(circuits: Mapping[str, Circuit], group: Iterable[str]) -> bool:
    """Return whether an endpoint of the group can be called; one without news can."""
    return any(
        _is_closed(circuits, one) and _is_closed(circuits, provider_of(one)) for one in group
    )


def provider_of(endpoint_id: str) -> str:
    """Return the name of an endpoint's provider."""
    return endpoint_id.partition("/")[0]


def _is_closed(circuits: Mapping[str, Circuit], name: str) -> bool:
    return name not in circuits or circuits[name].retry_at is None


def cool(circuit: Circuit, until: float) -> Circuit:
    """Return the circuit kept from being called before `until`, which never shortens."""
    if until <= circuit.cool_until:
        return circuit
    return replace(circuit, cool_until=until)


def operate(circuit: Circuit, action: Action, now: float) -> Circuit:
    """Return the circuit after an operator's action, whatever its state was.

    `open` holds it open until another action; `close` closes it and remembers its trips;
    `reset` forgets everything but the leases of probes that are still out.
    """
    if action == "open":
        reason = "opened by an operator"
        return replace(circuit, epoch=circuit.epoch + 1, retry_at=math.inf, reason=reason)
    closed = _close(circuit, now)
    if action == "close":
        return closed
    return replace(closed, trips=0, cool_until=-math.inf)


def adopt(circuit: Circuit, config: BreakerConfig, status: CircuitStatus, now: float) -> Circuit:
    """Return the circuit as the authority newly says it is; `now` is Unix seconds here.

    Times are bounded by the configuration: the clocks of two machines may differ.
    """
    if status.phase == "closed":
        closed = circuit if circuit.retry_at is None else _close(circuit, now)
        until = -math.inf if status.retry_at is None else status.retry_at
        return replace(closed, cool_until=min(until, now + config.max_pause))
    retry_at = math.inf
    if status.retry_at is not None:
        retry_at = min(status.retry_at, now + max(config.cooldowns))
    was_open = circuit.retry_at is not None
    return replace(
        circuit,
        epoch=circuit.epoch + 1,
        retry_at=retry_at,
        trips=max(circuit.trips, 1) if was_open else _next_trip(circuit, config, now),
        successes=0,
        reason=status.reason,
    )


def status_of(circuit: Circuit, now: float, unix: float) -> CircuitStatus:
    """Return what the others are told; `unix` is the Unix time at `now`.

    `retry_at` of a closed circuit is the end of a rate limit's cooldown.
    """
    until = circuit.retry_at
    if until is None and now < circuit.cool_until:
        until = circuit.cool_until
    return CircuitStatus(
        phase=phase(circuit, now),
        epoch=circuit.epoch,
        retry_at=None if until is None or until == math.inf else unix + until - now,
        reason=circuit.reason,
    )


def _probed(circuit: Circuit, config: BreakerConfig, ruling: Ruling, now: float) -> Circuit:
    if ruling.verdict == "failure":
        return _trip(circuit, config, now, f"probe failed: {ruling.error}")
    if circuit.successes + 1 < config.successes_to_close:
        return replace(circuit, successes=circuit.successes + 1)
    return _close(circuit, now)


def _count(
    circuit: Circuit, config: BreakerConfig, outcome: Outcome, now: float, *, last: bool
) -> Circuit:
    failed = outcome.ruling.verdict == "failure"
    bucket = int(now * _BUCKETS // config.window)
    window = count(circuit.window, bucket, _BUCKETS, outcome.count, outcome.count if failed else 0)
    failures = circuit.failures + outcome.count if failed else 0
    counted = replace(circuit, window=window, failures=failures)
    reason = _why_open(counted, config, outcome.ruling) if failed else ""
    return _trip(counted, config, now, reason) if reason and not last else counted


def _why_open(circuit: Circuit, config: BreakerConfig, ruling: Ruling) -> str:
    if ruling.weight == "fatal":
        return ruling.error
    if circuit.failures >= config.consecutive_failures:
        return f"{circuit.failures} failures in a row, the last: {ruling.error}"
    calls, failures = circuit.window.total_calls, circuit.window.total_failures
    if calls >= config.min_volume and failures > config.failure_rate * calls:
        return f"{failures} of {calls} calls failed, the last: {ruling.error}"
    return ""


def _trip(circuit: Circuit, config: BreakerConfig, now: float, reason: str) -> Circuit:
    trips = _next_trip(circuit, config, now)
    open_for = config.cooldowns[min(trips, len(config.cooldowns)) - 1]
    return replace(
        circuit,
        epoch=circuit.epoch + 1,
        retry_at=now + open_for,
        trips=trips,
        successes=0,
        reason=reason,
    )


def _next_trip(circuit: Circuit, config: BreakerConfig, now: float) -> int:
    forgiven = circuit.retry_at is None and now - circuit.closed_at >= config.forgive_after
    return 1 if forgiven else circuit.trips + 1


def _close(circuit: Circuit, now: float) -> Circuit:
    return Circuit(
        epoch=circuit.epoch + 1,
        cool_until=circuit.cool_until,
        trips=circuit.trips,
        closed_at=now,
        leases=circuit.leases,
        next_probe=circuit.next_probe,
    )


def _pause(config: BreakerConfig, retry_after: float | None) -> float:
    if retry_after is None:
        return config.pause
    if not retry_after > config.min_pause:  # also true of NaN
        return config.min_pause
    return min(retry_after, config.max_pause)
