"""A replica's view of every circuit: its own verdicts, overlaid by the authority's words.

The same policy runs here on the replica's own calls and in the authority on everyone's. So five
failures in a row stop this replica at once, and what the others saw stops it a message later.
A newer word of the authority replaces the replica's own verdict; between words its own stands.

How stale the view can be:
- own failures: not at all; the others': the flush (at once) and the long poll, some milliseconds;
- own successes reach the authority after `flush_every`;
- an authority that fails calls is given up at once, one that hangs after `poll` + `grace`
  seconds. Without it the replica goes on alone and probes by itself, as many as the policy
  allows to the whole cluster (1), until the authority answers again.

Single-threaded: all methods on one event loop. Times are Unix seconds.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol, TypeVar

from compass_ray.policy import breaker
from compass_ray.policy.breaker import BreakerConfig, Circuit, Groups, Outcome
from compass_ray.policy.verdict import NEUTRAL, SUCCESS, Ruling, judge
from compass_ray.types.errors import CompassError
from compass_ray.types.status import CircuitStatus

_log = logging.getLogger("compass.circuits")

T = TypeVar("T")

_NONE_EXCLUDED: Mapping[str, str] = MappingProxyType({})


class Authority(Protocol):
    """The Breaker actor, directly or through a handle. Any exception means it is not there."""

    async def report(self, replica: str, outcomes: tuple[Outcome, ...]) -> None:
        """Count what a replica saw."""

    async def watch(self, version: int, wait: float) -> tuple[int, Mapping[str, CircuitStatus]]:
        """Return all circuits once their version is not `version`, or after `wait` seconds."""

    async def lease_probe(self, endpoint_id: str, replica: str) -> breaker.Permit | None:
        """Return a half-open circuit's permit, or None when none is free."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the replica talks with the authority, in seconds."""

    flush_every: float = 0.05
    poll: float = 5.0
    grace: float = 2.0
    """An answer later than this is none."""
    lease_every: float = 0.25
    hold_probe: float = 1.0
    """A leased probe that no request took for so long is given back."""
    retry: float = 0.5


@dataclass(frozen=True, slots=True)
class CallPermit:
    """The right to one call: as this replica dates it, and as the authority does."""

    endpoint_id: str
    own: breaker.Permit
    shared: breaker.Permit


class _Entry:
    """One endpoint: its circuit as seen from here, and what was last heard and not yet told."""

    __slots__ = ("adopted", "circuit", "lease", "lease_until", "permit", "successes", "word")

    def __init__(self) -> None:
        self.circuit = Circuit()
        self.word = 0  # the authority's epoch
        self.adopted = 0  # the circuit's epoch after that word was taken over
        self.lease: breaker.Permit | None = None  # a probe leased and not yet used
        self.lease_until = 0.0
        self.permit: CallPermit | None = None  # what every call gets while closed
        self.successes = 0  # with `permit`, not yet counted


class Circuits:
    """All circuits of one replica.

    `replica` names this process and no other, ever. `groups` as for the Breaker actor. `clock`
    must be the clock of the `now` that the other methods get.
    """

    def __init__(
        self,
        replica: str,
        config: BreakerConfig | None = None,
        groups: Groups = (),
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self._replica = replica
        self._config = config or BreakerConfig()
        self._groups = groups
        self._clock = clock
        self._pace = pace or Pace()
        self._entries: dict[str, _Entry] = {}
        self._outbox: list[Outcome] = []
        self._version = 0
        self._alone = True
        self._excluded = _NONE_EXCLUDED
        self._excluded_until = math.inf
        self._probeless = False  # a half-open circuit waits for a lease
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._probe_wanted = asyncio.Event()

    def excluded(self, now: float) -> Mapping[str, str]:
        """Return endpoint id to reason, for those that may not be called now."""
        if now >= self._excluded_until:
            self._refresh(now)
        if self._probeless:
            self._probe_wanted.set()
        return self._excluded

    def admit(self, endpoint_id: str, now: float) -> CallPermit | None:
        """Return a permit, or None while the endpoint may not be called."""
        entry = self._entry(endpoint_id)
        if entry.permit is not None:
            return entry.permit
        half_open = breaker.phase(entry.circuit, now) == "half-open"
        if half_open and entry.lease is None and not self._alone:
            self._probe_wanted.set()
            return None
        circuit, own = breaker.admit(entry.circuit, self._config, now)
        if own is None:
            return None
        self._replace(entry, circuit)
        shared = breaker.Permit(entry.word)
        if own.probe is not None:
            shared, entry.lease = entry.lease or shared, None
        permit = CallPermit(endpoint_id, own, shared)
        if own.probe is None:
            entry.permit = permit
        return permit

    def report(self, permit: CallPermit, error: CompassError | None, now: float) -> None:
        """Count how the call went; None is success."""
        entry = self._entries[permit.endpoint_id]
        if error is None and permit is entry.permit:
            entry.successes += 1
            self._news.set()
        else:
            self._settle(entry, permit, judge(error), now)

    def release(self, permit: CallPermit, now: float) -> None:
        """Give a permit back that says nothing about the endpoint."""
        if permit.own.probe is not None:
            self._settle(self._entries[permit.endpoint_id], permit, NEUTRAL, now)

    def statuses(self, now: float) -> dict[str, CircuitStatus]:
        """Return every circuit as seen from here; epochs are the authority's."""
        return {
            name: breaker.status_of(entry.circuit, now, now)
            for name, entry in self._entries.items()
        }

    async def run(self, authority: Authority) -> None:
        """Follow the authority, report to it and lease probes from it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen_for_ever(authority))
            tasks.create_task(self._flush_for_ever(authority))
            tasks.create_task(self._lease_for_ever(authority))

    async def listen(self, authority: Authority, wait: float) -> bool:
        """Take over the authority's next words; return whether it answered."""
        answer = await self._ask(authority.watch(self._version, wait), wait)
        if (answer is None) != self._alone:
            self._alone = answer is None
            self._excluded_until = -math.inf
            _log.warning("the breaker actor %s", "is silent" if self._alone else "answers")
        if answer is not None:
            self._hear(*answer)
        return answer is not None

    async def flush(self, authority: Authority) -> None:
        """Tell the authority what was seen since the last time; what it misses is not repeated."""
        now = self._clock()
        self._news.clear()
        self._urgent.clear()
        for name, entry in self._entries.items():
            self._count_successes(name, entry, now)
        if self._outbox:
            outcomes, self._outbox = tuple(self._outbox), []
            await self._ask(authority.report(self._replica, outcomes))

    async def lease(self, authority: Authority) -> None:
        """Lease a probe for each half-open circuit that has none; give back those unused."""
        self._probe_wanted.clear()
        now = self._clock()
        for name, entry in tuple(self._entries.items()):
            if entry.lease is not None and now >= entry.lease_until:
                self._post(Outcome(name, entry.lease, NEUTRAL))
                entry.lease = None
            elif entry.lease is None and breaker.phase(entry.circuit, now) == "half-open":
                entry.lease = await self._ask(authority.lease_probe(name, self._replica))
                entry.lease_until = now + self._pace.hold_probe
        self._excluded_until = -math.inf

    async def _listen_for_ever(self, authority: Authority) -> None:
        while True:
            if not await self.listen(authority, self._pace.poll):
                await asyncio.sleep(self._pace.retry)

    async def _flush_for_ever(self, authority: Authority) -> None:
        while True:
            await self._news.wait()
            await _within(self._pace.flush_every, self._urgent)
            await self.flush(authority)

    async def _lease_for_ever(self, authority: Authority) -> None:
        while True:
            unused = any(entry.lease for entry in self._entries.values())
            await _within(self._pace.hold_probe if unused else None, self._probe_wanted)
            await self.lease(authority)
            await asyncio.sleep(self._pace.lease_every)

    async def _ask(self, call: Awaitable[T], wait: float = 0.0) -> T | None:
        try:
            async with asyncio.timeout(wait + self._pace.grace):
                return await call
        except Exception as exc:  # noqa: BLE001 - whatever it is, the replica goes on alone
            _log.info("the breaker actor does not answer: %s", type(exc).__name__)
            return None

    def _hear(self, version: int, words: Mapping[str, CircuitStatus]) -> None:
        now = self._clock()
        if version < self._version:  # a restarted authority whose clock is behind
            for entry in self._entries.values():
                entry.word = 0
        self._version = version
        for name, status in words.items():
            entry = self._entry(name)
            self._count_successes(name, entry, now)
            self._overlay(entry, status, now)
        held_open = {name for name, status in words.items() if status.phase != "closed"}
        self._keep_one_closed(held_open, now)

    def _overlay(self, entry: _Entry, status: CircuitStatus, now: float) -> None:
        circuit = entry.circuit
        if status.epoch > entry.word:
            circuit = breaker.adopt(circuit, self._config, status, now)
            entry.word, entry.adopted = status.epoch, circuit.epoch
            entry.lease = entry.permit = None
        elif status.phase == "closed":
            circuit = breaker.cool(circuit, status.retry_at or -math.inf)
        elif status.phase == "half-open" and circuit.epoch == entry.adopted:
            circuit = replace(circuit, retry_at=min(circuit.retry_at or now, now))
        self._replace(entry, circuit)

    def _keep_one_closed(self, held_open: set[str], now: float) -> None:
        """Drop own verdicts where they and the authority's together would leave a group empty."""
        circuits = self._circuits()
        for group in self._groups:
            if not breaker.any_closed(circuits, group):
                for name in group - held_open:
                    entry = self._entries[name]
                    self._replace(entry, breaker.operate(entry.circuit, "close", now))

    def _settle(self, entry: _Entry, permit: CallPermit, ruling: Ruling, now: float) -> None:
        name = permit.endpoint_id
        self._count_successes(name, entry, now)
        last = ruling.verdict == "failure" and breaker.is_last(self._circuits(), self._groups, name)
        own = Outcome(name, permit.own, ruling)
        self._replace(entry, breaker.settle(entry.circuit, self._config, own, now, last=last))
        if ruling.weight != "neutral" or permit.shared.probe is not None:
            self._post(Outcome(name, permit.shared, ruling))

    def _count_successes(self, name: str, entry: _Entry, now: float) -> None:
        if entry.permit is None or not entry.successes:
            return
        own = Outcome(name, entry.permit.own, SUCCESS, entry.successes)
        shared = replace(own, permit=entry.permit.shared)
        entry.successes = 0
        entry.circuit = breaker.settle(entry.circuit, self._config, own, now)
        self._outbox.append(shared)

    def _post(self, outcome: Outcome) -> None:
        if self._outbox and replace(self._outbox[-1], count=1) == outcome:
            outcome = replace(outcome, count=self._outbox.pop().count + 1)
        self._outbox.append(outcome)
        self._news.set()
        self._urgent.set()

    def _replace(self, entry: _Entry, circuit: Circuit) -> None:
        if _visible(circuit) != _visible(entry.circuit):
            entry.permit = None
            self._excluded_until = -math.inf
        entry.circuit = circuit

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
                leased = self._alone or entry.lease is not None
                self._probeless |= not leased
                if not leased or breaker.lease(circuit, self._config, now)[1] is None:
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


def _changes_at(circuit: Circuit) -> list[float]:
    """Return when time alone may change what the circuit allows."""
    expiries = [expires_at for _, expires_at in circuit.leases]
    return [circuit.cool_until, circuit.retry_at or -math.inf, *expiries]


async def _within(seconds: float | None, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass  # either way it is time
