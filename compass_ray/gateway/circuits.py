"""A replica's view of every circuit: its own verdicts, overlaid by the authority's words.

The same policy runs here on the replica's own calls and in the authority on everyone's. So five
failures in a row stop this replica at once, and what the others saw stops it a message later
(see `gateway.authority` for how stale the view can be). A newer word of the authority replaces
the replica's own verdict; between words its own stands. A half-open circuit lets a call through
only with a probe leased from the authority, or, while that is silent, as many as the policy
allows to the whole cluster (1).

Single-threaded: all methods on one event loop. Times are Unix seconds.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from compass_ray.policy import breaker
from compass_ray.policy.breaker import BreakerConfig, Circuit, Groups, Outcome
from compass_ray.policy.verdict import NEUTRAL, SUCCESS, Ruling, judge
from compass_ray.types.errors import CompassError
from compass_ray.types.status import CircuitStatus

_NONE_EXCLUDED: Mapping[str, str] = MappingProxyType({})

_OWN_PROBE = 60.0
"""Seconds after which a probe of the replica's own is lost; it hears of the end of each."""


@dataclass(frozen=True, slots=True)
class CallPermit:
    """The right to one call: as this replica dates it, and as the authority does."""

    endpoint_id: str
    own: breaker.Permit
    shared: breaker.Permit


class _Entry:
    """One endpoint or provider: its circuit as seen from here, and what is to be told of it."""

    __slots__ = (
        "adopted",
        "circuit",
        "lease",
        "leased_at",
        "permit",
        "running",
        "successes",
        "word",
    )

    def __init__(self) -> None:
        self.circuit = Circuit()
        self.word = 0  # the authority's epoch
        self.adopted = 0  # the circuit's epoch after that word was taken over
        self.lease: breaker.Permit | None = None  # a probe leased and not yet used
        self.leased_at = 0.0
        self.running: set[breaker.Permit] = set()  # leased probes that are in flight
        self.permit: CallPermit | None = None  # what every call gets while closed
        self.successes = 0  # with `permit`, not yet counted


class Circuits:
    """All circuits of one replica.

    `groups` as for the Breaker actor. `clock` must be the clock of the `now` that the other
    methods get. `news` is set when there is something to tell, `urgent` when at once, and
    `probe_wanted` when requests come while a half-open circuit lacks a probe.
    """

    def __init__(
        self,
        config: BreakerConfig | None = None,
        groups: Groups = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.news = asyncio.Event()
        self.urgent = asyncio.Event()
        self.probe_wanted = asyncio.Event()
        self.version = 0
        self.alone = True
        self._config = replace(config or BreakerConfig(), probe_lease=_OWN_PROBE)
        self._groups = groups
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._outbox: list[Outcome] = []
        self._excluded = _NONE_EXCLUDED
        self._excluded_until = math.inf
        self._probeless = False

    def excluded(self, now: float) -> Mapping[str, str]:
        """Return endpoint id or provider to reason, for those that may not be called now."""
        if now >= self._excluded_until:
            self._refresh(now)
        if self._probeless:
            self.probe_wanted.set()
        return self._excluded

    def admit(self, endpoint_id: str, now: float) -> CallPermit | None:
        """Return a permit, or None while the endpoint may not be called."""
        entry = self._entry(endpoint_id)
        if entry.permit is not None:
            return entry.permit
        if self._lacks_probe(entry, now):
            self.probe_wanted.set()
            return None
        circuit, own = breaker.admit(entry.circuit, self._config, now)
        if own is None:
            return None
        self._replace(entry, circuit)
        shared = breaker.Permit(entry.word)
        if own.probe is None:
            entry.permit = CallPermit(endpoint_id, own, shared)
            return entry.permit
        if entry.lease is not None:
            shared, entry.lease = entry.lease, None
            entry.running.add(shared)
        return CallPermit(endpoint_id, own, shared)

    def cools_for(self, endpoint_id: str, now: float) -> float:
        """Return for how many seconds more a rate limit keeps everybody off the endpoint."""
        return max(0.0, self._entry(endpoint_id).circuit.cool_until - now)

    def report(self, permit: CallPermit, error: CompassError | None, now: float) -> None:
        """Count how the call went; None is success."""
        entry = self._entries[permit.endpoint_id]
        if error is None and permit is entry.permit:
            entry.successes += 1
            self.news.set()
        else:
            self._settle(entry, permit, judge(error), now)

    def rest(self, permit: CallPermit, seconds: float, now: float) -> None:
        """Keep everybody off an endpoint that has just said how long it takes nothing more."""
        ruling = Ruling("cooldown", "RateLimited", seconds)
        self._settle(self._entries[permit.endpoint_id], permit, ruling, now)

    def release(self, permit: CallPermit, now: float) -> None:
        """Give a permit back that says nothing about the endpoint."""
        if permit.own.probe is not None:
            self._settle(self._entries[permit.endpoint_id], permit, NEUTRAL, now)

    def statuses(self, now: float) -> dict[str, CircuitStatus]:
        """Return every circuit as seen from here, for metrics and answers."""
        return {
            name: breaker.status_of(entry.circuit, now, now)
            for name, entry in self._entries.items()
        }

    def hear(self, version: int, words: Mapping[str, CircuitStatus]) -> None:
        """Take over the authority's words where they are newer."""
        now = self._clock()
        if version < self.version:  # a restarted authority whose clock is behind
            for entry in self._entries.values():
                entry.word = 0
        self.version = version
        for name, status in words.items():
            entry = self._entry(name)
            self._count_successes(name, entry, now)
            if status.epoch > entry.word:
                self._drop_lease(name, entry)
            self._overlay(entry, status, now)
        held_open = {name for name, status in words.items() if status.phase != "closed"}
        self._keep_one_closed(held_open, now)
        if self.alone:
            self.alone = False
            self._excluded_until = -math.inf

    def go_alone(self) -> None:
        """Note that the authority is silent."""
        self.alone = True
        self._excluded_until = -math.inf

    def take_outcomes(self) -> tuple[Outcome, ...]:
        """Return what the authority has not been told yet, and forget it."""
        now = self._clock()
        self.news.clear()
        self.urgent.clear()
        for name, entry in self._entries.items():
            self._count_successes(name, entry, now)
        outcomes, self._outbox = tuple(self._outbox), []
        return outcomes

    @property
    def holds_probes(self) -> bool:
        """Whether a leased probe is in flight, or waits for a request."""
        return any(entry.lease is not None or entry.running for entry in self._entries.values())

    def probeless(self) -> dict[str, tuple[breaker.Permit, ...]]:
        """Return the half-open circuits that wait for a lease, with their probes in flight.

        That they are asked for is noted.
        """
        self.probe_wanted.clear()
        now = self._clock()
        entries = self._entries.items()
        return {n: tuple(entry.running) for n, entry in entries if self._lacks_probe(entry, now)}

    def take_lease(self, endpoint_id: str, permit: breaker.Permit) -> None:
        """Keep a leased probe for the next request."""
        entry = self._entry(endpoint_id)
        entry.lease, entry.leased_at = permit, self._clock()
        self._excluded_until = -math.inf

    def give_back(self, unused_for: float) -> None:
        """Give back the probes that no request took for so many seconds."""
        now = self._clock()
        for name, entry in self._entries.items():
            if entry.lease is not None and now - entry.leased_at >= unused_for:
                self._drop_lease(name, entry)

    def _overlay(self, entry: _Entry, status: CircuitStatus, now: float) -> None:
        circuit = entry.circuit
        if status.epoch > entry.word:
            circuit = breaker.adopt(circuit, self._config, status, now)
            entry.word, entry.adopted = status.epoch, circuit.epoch
            entry.permit = None
        elif status.phase == "closed":
            circuit = breaker.cool(circuit, status.retry_at or -math.inf)
        elif status.phase == "half-open" and circuit.epoch == entry.adopted:
            circuit = replace(circuit, retry_at=min(circuit.retry_at or now, now))
        self._replace(entry, circuit)

    def _drop_lease(self, name: str, entry: _Entry) -> None:
        if entry.lease is not None:
            self._post(Outcome(name, entry.lease, NEUTRAL))
            entry.lease = None
            self._excluded_until = -math.inf

    def _keep_one_closed(self, held_open: set[str], now: float) -> None:
        """Drop own verdicts where they and the authority's together would leave a group empty."""
        for group in self._groups:
            if not breaker.any_closed(self._circuits(), group):
                for name in (group | set(map(breaker.provider_of, group))) - held_open:
                    entry = self._entry(name)
                    if entry.circuit.retry_at is not None:
                        self._replace(entry, breaker.operate(entry.circuit, "close", now))

    def _settle(self, entry: _Entry, permit: CallPermit, ruling: Ruling, now: float) -> None:
        name = permit.endpoint_id
        entry.running.discard(permit.shared)
        self._count_successes(name, entry, now)
        failed = ruling.verdict == "failure"
        last = failed and breaker.is_last(self._circuits(), self._groups, name)
        own = Outcome(name, permit.own, ruling)
        self._replace(entry, breaker.settle(entry.circuit, self._config, own, now, last=last))
        if ruling.weight != "neutral" or permit.shared.probe is not None:
            self._post(Outcome(name, permit.shared, ruling))

    def _count_successes(self, name: str, entry: _Entry, now: float) -> None:
        if entry.permit is None or not entry.successes:
            return
        own = Outcome(name, entry.permit.own, SUCCESS, entry.successes)
        entry.successes = 0
        entry.circuit = breaker.settle(entry.circuit, self._config, own, now)
        self._outbox.append(replace(own, permit=entry.permit.shared))

    def _post(self, outcome: Outcome) -> None:
        if self._outbox and replace(self._outbox[-1], count=1) == outcome:
            outcome = replace(outcome, count=self._outbox.pop().count + 1)
        self._outbox.append(outcome)
        self.news.set()
        self.urgent.set()

    def _replace(self, entry: _Entry, circuit: Circuit) -> None:
        if _visible(circuit) != _visible(entry.circuit):
            entry.permit = None
            self._excluded_until = -math.inf
        entry.circuit = circuit

    def _lacks_probe(self, entry: _Entry, now: float) -> bool:
        if self.alone or entry.lease is not None:
            return False
        return breaker.phase(entry.circuit, now) == "half-open"

    def _refresh(self, now: float) -> None:
        excluded: dict[str, str] = {}
        changes = [math.inf]
        self._probeless = False
        for name, entry in self._entries.items():
            circuit = entry.circuit
            changes += [at for at in _changes_at(circuit) if at > now]
            if now < circuit.cool_until:
                excluded[name] = "rate limited"
            elif breaker.phase(circuit, now) == "open":
                excluded[name] = f"circuit open: {circuit.reason}"
            elif circuit.retry_at is not None:
                lacks = self._lacks_probe(entry, now)
                self._probeless |= lacks
                if lacks or breaker.lease(circuit, self._config, now)[1] is None:
                    excluded[name] = "circuit half-open: waits for a probe"
        self._excluded = excluded or _NONE_EXCLUDED
        self._excluded_until = min(changes)

    def _circuits(self) -> dict[str, Circuit]:
        return {name: entry.circuit for name, entry in self._entries.items()}

    def _entry(self, endpoint_id: str) -> _Entry:
        entry = self._entries.get(endpoint_id)
        if entry is None:
            entry = self._entries[endpoint_id] = _Entry()
        return entry


def _visible(circuit: Circuit) -> tuple[object, ...]:
    return circuit.epoch, circuit.retry_at, circuit.cool_until, circuit.leases


def _changes_at(circuit: Circuit) -> tuple[float, ...]:
    """Return when time alone may change what the circuit allows."""
    expiries = (lease.expires_at for lease in circuit.leases)
    return circuit.cool_until, circuit.retry_at or -math.inf, *expiries
