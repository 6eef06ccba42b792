"""The conversation of a replica's circuits with the Breaker actor.

How stale the replica's view can be:
- own failures: not at all; the others': their flush (at once) and the long poll, milliseconds;
- own successes reach the authority after `flush_every`;
- an authority that fails calls is given up at once, one that hangs after `poll` + `grace`
  seconds. Without it the replica goes on alone, and probes by itself, until it answers again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from compass_ray.gateway.circuits import Circuits
from compass_ray.policy.breaker import Outcome, Permit
from compass_ray.types.status import CircuitStatus

T = TypeVar("T")

_log = logging.getLogger("compass.circuits")


class Authority(Protocol):
    """The Breaker actor, directly or through a handle. Any exception means it is not there."""

    async def report(self, replica: str, outcomes: tuple[Outcome, ...]) -> None:
        """Count what a replica saw."""

    async def watch(self, version: int, wait: float) -> tuple[int, Mapping[str, CircuitStatus]]:
        """Return all circuits once their version is not `version`, or after `wait` seconds."""

    async def lease_probe(
        self, endpoint_id: str, replica: str, holding: tuple[Permit, ...]
    ) -> Permit | None:
        """Return a half-open circuit's permit, or None when none is free; renew those held."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a replica talks with the authority, in seconds."""

    flush_every: float = 0.25
    """Failures go at once."""
    poll: float = 5.0
    grace: float = 2.0
    """An answer later than this is none."""
    lease_every: float = 0.25
    hold_probe: float = 1.0
    """A leased probe that no request took for so long is given back."""
    retry: float = 0.5


class Follower:
    """Keeps one replica's circuits in step with the authority.

    `replica` names the process. The single steps are public; `run` repeats them.
    """

    def __init__(
        self, replica: str, circuits: Circuits, authority: Authority, pace: Pace | None = None
    ) -> None:
        self._replica = replica
        self._circuits = circuits
        self._authority = authority
        self._pace = pace or Pace()

    async def run(self) -> None:
        """Listen, report and lease, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen_for_ever())
            tasks.create_task(self._flush_for_ever())
            tasks.create_task(self._lease_for_ever())

    async def listen(self, wait: float) -> bool:
        """Take over the authority's next words; return whether it answered."""
        circuits = self._circuits
        answer = await self._ask(self._authority.watch(circuits.version, wait), wait)
        if answer is None:
            if not circuits.alone:
                _log.warning("the breaker actor is silent: each replica goes on alone")
            circuits.go_alone()
            return False
        circuits.hear(*answer)
        return True

    async def flush(self) -> None:
        """Tell the authority what was seen since the last time; what it misses is not repeated."""
        outcomes = self._circuits.take_outcomes()
        if outcomes:
            await self._ask(self._authority.report(self._replica, outcomes))

    async def lease(self) -> None:
        """Lease a probe for each half-open circuit that lacks one; give back those unused.

        An answer that is lost on its way costs nothing: the next question says what is held.
        """
        self._circuits.give_back(self._pace.hold_probe)
        for endpoint_id, holding in self._circuits.probeless().items():
            question = self._authority.lease_probe(endpoint_id, self._replica, holding)
            permit = await self._ask(question)
            if permit is not None:
                self._circuits.take_lease(endpoint_id, permit)

    async def _listen_for_ever(self) -> None:
        while True:
            if not await self.listen(self._pace.poll):
                await asyncio.sleep(self._pace.retry)

    async def _flush_for_ever(self) -> None:
        while True:
            await self._circuits.news.wait()
            await _wait(self._circuits.urgent, self._pace.flush_every)
            await self.flush()

    async def _lease_for_ever(self) -> None:
        while True:
            renew = self._pace.hold_probe if self._circuits.holds_probes else None
            await _wait(self._circuits.probe_wanted, renew)
            await self.lease()
            await asyncio.sleep(self._pace.lease_every)

    async def _ask(self, call: Awaitable[T], wait: float = 0.0) -> T | None:
        try:
            async with asyncio.timeout(wait + self._pace.grace):
                return await call
        except Exception as exc:  # noqa: BLE001 - whatever it is, the replica goes on alone
            _log.info("the breaker actor does not answer: %s", type(exc).__name__)
            return None


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass  # either way it is time
