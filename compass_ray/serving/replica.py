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
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from compass_ray import request_log
from compass_ray.gateway.admission import Admission
from compass_ray.gateway.attempts import Attempts
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.authority import Authority, Follower
from compass_ray.gateway.circuits import Circuits
from compass_ray.gateway.directory import Directory, ProviderAuthority
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.job import Clock
from compass_ray.gateway.pipeline import Gateway
from compass_ray.gateway.pipeline import Settings as GatewaySettings
from compass_ray.gateway.wallet import Ledger, Wallet
from compass_ray.policy import budget
from compass_ray.policy.breaker import BreakerConfig, Groups
from compass_ray.policy.budget import Bucket
from compass_ray.policy.retry import RetryPolicy
from compass_ray.policy.rules import Rules
from compass_ray.policy.select import Catalogue, Weights
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import wire
from compass_ray.rules import parse_rules, shipped_rules
from compass_ray.telemetry import Snapshot, Telemetry
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import ConfigError, LedgerUnavailable
from compass_ray.types.events import Record
from compass_ray.types.money import Balance
from compass_ray.types.routing import Endpoint
from compass_ray.types.settings import ProviderSpec, Settings
from compass_ray.types.status import ProviderStatus

_log = logging.getLogger("compass")

_PUSH_SECONDS = 1.0
_COLLECT_AFTER = 20_000
"""New objects between two collections of the youngest generation."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Hub(Protocol):
    """The Metrics actor, directly or through a handle."""

    async def push(self, replica: str, snapshot: Snapshot) -> None:
        """Take a replica's numbers."""

    async def exposition(self) -> bytes:
        """Return all replicas' metrics in Prometheus' text format."""

    async def summary(self) -> dict[str, object]:
        """Return all replicas' metrics as JSON."""


class Books(Ledger, Protocol):
    """The Ledger, also for those who want to read its books."""

    async def balances(self, buckets: tuple[str, ...]) -> list[Balance]:
        """Return the books of those buckets."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who owns the facts that a replica holds copies of."""

    ledger: Books
    breaker: Authority
    providers: Mapping[str, ProviderAuthority]
    hub: Hub


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
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: dict[str, ProviderClient] = {}
        self.max_body_bytes = settings.server.max_body_bytes

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
        self._clients = {spec.name: _client(spec) for spec in settings.providers}
        self._directory = Directory(self._clients)
        self._circuits = Circuits(breaker_config(settings), groups(settings))
        self._telemetry = Telemetry(settings.endpoints, settings.accounts)
        self._hub = authorities.hub
        self._ledger = authorities.ledger
        self._wallet = Wallet(
            authorities.ledger, self._name, settings.accounts, settings.server.state_dir
        )
        self.gateway = self._gateway(callers)
        follower = Follower(self._name, self._circuits, authorities.breaker)
        self._run(self._wallet.run())
        self._run(follower.run())
        self._run(self._push_for_ever())
        for name, authority in authorities.providers.items():
            self._run(self._directory.follow(name, authority))
        _collect_rarely()

    async def stop(self) -> None:
        """Hand everything back: settle, return the leases, say the last numbers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
        }

    def models(self) -> list[dict[str, object]]:
        """Return the models that can be called now, in OpenAI's shape; `auto` first."""
        unavailable = self._directory.unavailable()
        callable_now = [e for e in self._settings.endpoints if e.provider not in unavailable]
        by_model: dict[str, list[Endpoint]] = {}
        for endpoint in callable_now:
            by_model.setdefault(endpoint.model, []).append(endpoint)
        created = int(self._started_at)
        auto = {"id": "auto", "object": "model", "created": created, "owned_by": "compass"}
        return [auto, *(_model(name, by_model[name], created) for name in sorted(by_model))]

    def providers(self) -> list[ProviderStatus]:
        """Return the latest word of every provider's actor."""
        return self._directory.statuses()

    async def budgets(self, caller: Caller) -> list[dict[str, object]]:
        """Return the books of the caller's account and of those above it, the caller's first.

        Raises:
            LedgerUnavailable
        """
        path = budget.path(self._settings.accounts, caller.account, time.time())
        try:
            balances = await self._ledger.balances(tuple(bucket.key for bucket in path))
        except Exception as error:
            raise LedgerUnavailable("the ledger is silent") from error
        return [_budget(*pair) for pair in zip(path, balances, strict=True)]

    async def exposition(self) -> bytes:
        """Return all replicas' metrics in Prometheus' text format, this one's up to date."""
        await self._push()
        return await self._hub.exposition()

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

    def _gateway(self, callers: Callers) -> Gateway:
        settings, server = self._settings, self._settings.server
        loop = asyncio.get_running_loop()
        clock = Clock(time.time, loop.time, asyncio.sleep, random.random)
        admission = Admission(self._wallet, self._circuits, time.time)
        return Gateway(
            settings=GatewaySettings(
                limits=Limits(
                    body_bytes=server.max_body_bytes,
                    messages=server.max_messages,
                    tools=server.max_tools,
                    choices=server.max_n,
                    output_tokens=server.max_output_tokens,
                ),
                callers=callers,
                rules=_rules(settings),
                catalogue=Catalogue(settings.endpoints),
                weights=Weights(**asdict(settings.weights)),
                timeout=server.request_timeout,
                log_prompts=server.log_prompts,
            ),
            attempts=Attempts(
                self._clients, admission, RetryPolicy(**asdict(settings.retry)), clock
            ),
            directory=self._directory,
            circuits=self._circuits,
            wallet=self._wallet,
            recorder=self,
            clock=clock,
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
        self._telemetry.queued(self._wallet.waiting - self._queued)
        self._queued = self._wallet.waiting
        self._telemetry.circuits(self._circuits.statuses(time.time()))
        try:
            await self._hub.push(self._name, self._telemetry.snapshot())
        except Exception as error:  # noqa: BLE001  # metrics never stop a replica
            _log.warning("the metrics hub is silent: %s", type(error).__name__)


def _collect_rarely() -> None:
    """Look for reference cycles seldom, and never in what start-up has left: 6 % of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 50, 50)


def _budget(bucket: Bucket, books: Balance) -> dict[str, object]:
    limit = books.limit
    return {
        "account": bucket.account,
        "window": bucket.key.rpartition("@")[2],
        "resets_at": bucket.resets_at,
        "limit_micro_usd": limit,
        "spent_micro_usd": books.spent,
        "leased_micro_usd": books.leased,
        "remaining_micro_usd": None if limit is None else max(0, limit - books.spent),
    }


def breaker_config(settings: Settings) -> BreakerConfig:
    """Return the breaker's policy; the replica and the authority must have the same."""
    return BreakerConfig(**asdict(settings.breaker))


def groups(settings: Settings, environ: Mapping[str, str] = os.environ) -> Groups:
    """Return the endpoints that can stand in for each other: all that have a key.

    One without a key would count as healthy, and let the last real one be ejected.
    """
    usable = {
        spec.name
        for spec in settings.providers
        if not spec.key_names or any(environ.get(name) for name in spec.key_names)
    }
    return (frozenset(e.id for e in settings.endpoints if e.provider in usable),)


def _model(name: str, endpoints: list[Endpoint], created: int) -> dict[str, object]:
    first = endpoints[0]
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": first.provider,
        "context_window": first.context_window,
        "max_output_tokens": first.max_output_tokens,
        "tier": int(first.tier),
        "capabilities": sorted(first.capabilities),
        "endpoints": [endpoint.id for endpoint in endpoints],
    }


def _rules(settings: Settings) -> Rules:
    own = settings.rules
    return shipped_rules() if own is None else parse_rules(own.text, own.name)


def _client(spec: ProviderSpec) -> ProviderClient:
    return ProviderClient(wire(spec.kind), spec.timeouts, spec.max_parallel, target=None)
