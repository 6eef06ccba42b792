"""One gateway replica: wires the data path and keeps its copies of the authorities' facts fresh.

Without Ray: the authorities come as ports, from actor handles in production and as plain objects
in tests.
"""

import asyncio
import gc
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from compass_ray import request_log
from compass_ray.gateway.admission import Admission
from compass_ray.gateway.attempts import Attempts
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.authority import Follower
from compass_ray.gateway.circuits import Circuits
from compass_ray.gateway.counting import TokenCounter
from compass_ray.gateway.decisions import DecisionLog
from compass_ray.gateway.directory import Directory, ProviderAuthority
from compass_ray.gateway.escalate import Ladder
from compass_ray.gateway.experiments import Experiments
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.idempotency import Authority as IdempotencyAuthority
from compass_ray.gateway.idempotency import Claims
from compass_ray.gateway.job import Clock
from compass_ray.gateway.key_ring import KeyRing
from compass_ray.gateway.once import Once
from compass_ray.gateway.pipeline import Gateway
from compass_ray.gateway.pipeline import Settings as GatewaySettings
from compass_ray.gateway.taught import Pupil, follow
from compass_ray.gateway.throttle import Throttle
from compass_ray.gateway.wallet import Wallet
from compass_ray.learned import shipped_model, shipped_verifier
from compass_ray.policy.breaker import Groups
from compass_ray.policy.ladder import Escalation
from compass_ray.policy.quality import QualityModel
from compass_ray.policy.rules import Rules
from compass_ray.policy.select import Catalogue
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import wire
from compass_ray.rules import chosen_rules
from compass_ray.serving.admin import Admin, Books
from compass_ray.serving.admin import Circuits as BreakerAuthority
from compass_ray.serving.batches import Authority as BatchAuthority
from compass_ray.serving.batches import Batches
from compass_ray.serving.decisions import Decisions
from compass_ray.serving.decisions import Learner as LearnerAuthority
from compass_ray.serving.files import Files
from compass_ray.serving.lines import Lines
from compass_ray.serving.orders import Orders
from compass_ray.serving.rules_watch import RulesWatch
from compass_ray.serving.workflows import Authority as WorkflowAuthority
from compass_ray.serving.workflows import Workflows
from compass_ray.settings import Settings
from compass_ray.telemetry import Snapshot, Telemetry
from compass_ray.types.decisions import LearnerSettings
from compass_ray.types.errors import ConfigError, LearnerUnavailable, LedgerUnavailable
from compass_ray.types.events import Record
from compass_ray.types.money import Alert
from compass_ray.types.settings import ProviderSpec, first_set
from compass_ray.types.shifts import Shift

_log = logging.getLogger("compass")

_PUSH_SECONDS = 1.0
_COLLECT_AFTER = 20_000
"""New objects between two collections of the youngest generation."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Hub(Protocol):
    """The Metrics actor, directly or through a handle."""

    async def push(self, replica: str, snapshot: Snapshot) -> None:
        """Take a replica's numbers."""

    async def exposition(self, alerts: Sequence[Alert | Shift]) -> bytes:
        """Return all replicas' metrics, and these alerts, in Prometheus' text format."""

    async def summary(self) -> dict[str, object]:
        """Return all replicas' metrics as JSON."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who owns the facts that a replica holds copies of."""

    ledger: Books
    breaker: BreakerAuthority
    providers: Mapping[str, ProviderAuthority]
    hub: Hub
    idempotency: IdempotencyAuthority
    learner: LearnerAuthority
    workflows: WorkflowAuthority
    batches: BatchAuthority


class Replica:
    """Everything one gateway process holds.

    `connect` finds the authorities; `host` tells on which interface the ingress listens.
    """

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[], Awaitable[Authorities]],
        host: Callable[[], Awaitable[str]],
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._host = host
        self._name = f"replica-{random.getrandbits(64):016x}"
        self._started_at = time.time()
        self._queued = 0
        self._throttle = Throttle(settings.adaptive, time.monotonic) if settings.adaptive else None
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: dict[str, ProviderClient | KeyRing] = {}
        self.max_body_bytes = settings.server.max_body_bytes
        self.reader_patience = settings.server.reader_timeout

    async def start(self) -> None:
        """Open connections and begin to follow the authorities.

        Raises:
            ConfigError: anybody may call, and the ingress listens to more than loopback.
        """
        settings = self._settings
        callers = Callers(settings.callers, settings.anonymous)
        await self._refuse_open_to_the_world(callers)
        self._end_log = request_log.start()
        authorities = await self._connect()
        self._telemetry = Telemetry(settings.endpoints, settings.accounts)
        self._clients = {spec.name: _client(spec, self._telemetry) for spec in settings.providers}
        self._directory = Directory(self._clients)
        self._circuits = Circuits(settings.breaker, groups(settings))
        self._hub = authorities.hub
        self.admin = self._admin(authorities)
        self._wallet = Wallet(
            authorities.ledger, self._name, settings.accounts, settings.server.state_dir
        )
        loop = asyncio.get_running_loop()
        clock = Clock(time.time, loop.time, asyncio.sleep, random.random)
        model = shipped_model() if settings.learned else None
        log = DecisionLog(authorities.learner, model) if settings.keep_decisions else None
        pupil = Pupil(model, settings.explore, clock.uniform) if model is not None else None
        self._decision_log = log
        self.decisions = Decisions(authorities.learner, log)
        rules = chosen_rules(settings.rules)
        experiments = Experiments(settings.experiments) if settings.experiments else None
        decides_by = self._decides_by(callers, rules, model)
        self.gateway = self._gateway(decides_by, clock, pupil, experiments)
        self.rules = RulesWatch(settings.rules, rules, self.gateway.adopt)
        self.counter = TokenCounter(
            self.gateway, self._clients, authorities.providers, self._limits()
        )
        self._claims = Claims(authorities.idempotency)
        self.once = Once(self.gateway, self._claims, self, clock)
        follower = Follower(self._name, self._circuits, authorities.breaker)
        self.workflows = Workflows(authorities.workflows, self._orders())
        self.files = Files(authorities.batches, settings.batches, time.time)
        self.batches = Batches(authorities.batches, settings.batches, time.time)
        self.lines = Lines(self.once)
        self._run(self.workflows.tend())
        self._run(self.batches.tend())
        self._run(self._wallet.run())
        self._run(follower.run())
        self._run(self._claims.run())
        self._run(self._push_for_ever())
        if settings.rules is not None:
            self._run(self.rules.run())
        if log is not None:
            self._run(log.run())
        listeners = [one for one in (pupil, experiments) if one is not None]
        if listeners:
            self._run(follow(authorities.learner, listeners))
        for name, authority in authorities.providers.items():
            self._run(self._directory.follow(name, authority))
        _collect_rarely()

    async def stop(self) -> None:
        """Hand everything back: settle, return the leases, say the last numbers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._claims.close()
        if self._decision_log is not None:
            await self._decision_log.close()
        await self._wallet.close()
        await self._hub.push(self._name, self._telemetry.snapshot())
        for client in self._clients.values():
            await client.close()
        self._end_log()

    def check(self) -> None:
        """Raise when this replica should be replaced: one of its background tasks has ended."""
        for task in self._tasks:
            if task.done():
                raise RuntimeError(f"{task.get_coro()} ended") from task.exception()

    def health(self) -> dict[str, object]:
        """Return what a load balancer wants to know; `starting` until every provider reported."""
        reported = len(self._directory.statuses()) == len(self._clients)
        return {
            "status": "ok" if reported else "starting",
            "uptime_seconds": round(time.time() - self._started_at, 1),
            "prices_as_of": self._settings.prices_as_of.isoformat(),
            "rules": self.rules.health(),
        }

    async def exposition(self) -> bytes:
        """Return all replicas' metrics in Prometheus' text format, this one's up to date."""
        await self._push()
        alerts: list[Alert | Shift] = []
        with suppress(LedgerUnavailable):  # the other numbers are worth having, as below
            alerts += await self.admin.all_alerts()
        with suppress(LearnerUnavailable):
            alerts += await self.decisions.shifts()
        return await self._hub.exposition(alerts)

    async def summary(self) -> dict[str, object]:
        """Return all replicas' metrics as JSON, this one's up to date."""
        await self._push()
        return await self._hub.summary()

    def record(self, record: Record) -> None:
        """Count and log a finished request."""
        self._telemetry.record(record)
        if self._settings.server.log_requests:
            request_log.log_request(record)

    def active(self, change: int) -> None:
        """Add to the number of requests in progress."""
        self._telemetry.active(change)

    def _admin(self, authorities: Authorities) -> Admin:
        return Admin(
            self._settings,
            self._directory,
            authorities.ledger,
            authorities.breaker,
            self._started_at,
            throttle=self._throttle,
        )

    def _orders(self) -> Orders:
        settings = self._settings
        return Orders(
            self.gateway,
            frozenset(spec.name for spec in settings.providers),
            time.time,
            alerts=settings.alerts.percents,
            webhooks=settings.webhooks,
        )

    def _limits(self) -> Limits:
        server = self._settings.server
        return Limits(
            body_bytes=server.max_body_bytes,
            messages=server.max_messages,
            tools=server.max_tools,
            choices=server.max_n,
            output_tokens=server.max_output_tokens,
        )

    def _decides_by(
        self, callers: Callers, rules: Rules, model: QualityModel | None
    ) -> GatewaySettings:
        settings, server = self._settings, self._settings.server
        return GatewaySettings(
            limits=self._limits(),
            callers=callers,
            rules=rules,
            catalogue=Catalogue(settings.endpoints),
            embedders=Catalogue(settings.endpoints, embeddings=True),
            plan=settings.plan,
            plans=settings.plans,
            model=model,
            timeout=server.request_timeout,
            log_prompts=server.log_prompts,
        )

    def _gateway(
        self,
        decides_by: GatewaySettings,
        clock: Clock,
        pupil: Pupil | None,
        experiments: Experiments | None,
    ) -> Gateway:
        settings = self._settings
        admission = Admission(self._wallet, self._circuits, time.time, self._throttle)
        attempts = Attempts(self._clients, admission, settings.retry, clock)
        return Gateway(
            settings=decides_by,
            attempts=attempts,
            directory=self._directory,
            circuits=self._circuits,
            wallet=self._wallet,
            recorder=self,
            clock=clock,
            pupil=pupil,
            decisions=self._decision_log,
            ladder=_ladder(settings.escalation, attempts),
            experiments=experiments,
        )

    async def _refuse_open_to_the_world(self, callers: Callers) -> None:
        if not callers.open:
            return
        host = await self._host()
        if host not in _LOOPBACK:
            raise ConfigError(
                f"anybody may call, and the gateway listens on {host!r}: "
                "configure callers' keys, or listen on 127.0.0.1",
                key="keys",
            )

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _push_for_ever(self) -> None:
        while True:
            await self._push()
            await asyncio.sleep(_PUSH_SECONDS)

    async def _push(self) -> None:
        loads = {} if self._throttle is None else self._throttle.loads()
        waiting = self._wallet.waiting + sum(load.waiting for load in loads.values())
        self._telemetry.queued(waiting - self._queued)
        self._queued = waiting
        self._telemetry.circuits(self._circuits.statuses(time.time()))
        self._telemetry.concurrency(
            {name: (load.limit, load.in_flight) for name, load in loads.items()}
        )
        try:
            await self._hub.push(self._name, self._telemetry.snapshot())
        except Exception as error:  # noqa: BLE001  # metrics never stop a replica
            _log.warning("the metrics hub is silent: %s", type(error).__name__)


def _collect_rarely() -> None:
    """Look for reference cycles seldom, and never in what start-up has left: 6 % of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 50, 50)


def groups(settings: Settings, environ: Mapping[str, str] = os.environ) -> Groups:
    """Return the endpoints that can stand in for each other, of those that have a key.

    One without a key would count as healthy, and let the last real one be ejected. All that answer
    chats can; of those that make embeddings, the ones of a model.
    """
    usable = {
        spec.name
        for spec in settings.providers
        if not spec.all_key_names or first_set(environ, spec.all_key_names)
    }
    groups: dict[str | None, set[str]] = {None: set()}
    for one in settings.endpoints:
        if one.provider in usable:
            group = None if one.embedding is None else one.model
            groups.setdefault(group, set()).add(one.id)
    return tuple(map(frozenset, groups.values()))


def learner_settings(settings: Settings) -> LearnerSettings:
    """Return what the Learner has to know; it learns nothing where no model expects anything."""
    model = shipped_model() if settings.learned else None
    return LearnerSettings(
        keep=settings.keep_decisions,
        mode="off" if model is None else settings.learning,
        basis="" if model is None else model.basis,
        size=0 if model is None else 1 + len(model.means),
        experiments=tuple(experiment for experiment, _ in settings.experiments),
        drift=settings.drift,
        webhook=settings.alerts.webhook,
    )


def _ladder(escalation: Escalation | None, attempts: Attempts) -> Ladder | None:
    if escalation is None:
        return None
    return Ladder(escalation, attempts, shipped_verifier() if escalation.verifier else None)


def _client(spec: ProviderSpec, telemetry: Telemetry) -> ProviderClient | KeyRing:
    client = ProviderClient(wire(spec.kind), spec.timeouts, spec.max_parallel, target=None)
    if not spec.more_key_names:
        return client
    alarm = partial(telemetry.key_refused, spec.name)
    return KeyRing(client, alarm, asyncio.get_running_loop().time)
