"""One gateway replica: wires the data path and keeps its copies of the authorities' facts fresh.

Without Ray: the authorities come as ports, from actor handles in production and as plain objects
in tests.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
from compass_ray.policy.select import Catalogue
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import wire
from compass_ray.request_log import log_request
from compass_ray.telemetry import Snapshot, Telemetry
from compass_ray.types.errors import ConfigError
from compass_ray.types.events import Record
from compass_ray.types.routing import Endpoint
from compass_ray.types.settings import Settings
from compass_ray.types.status import ProviderStatus

_log = logging.getLogger("compass")

_PUSH_SECONDS = 1.0


class Hub(Protocol):
    """The Metrics actor, directly or through a handle."""

    async def push(self, replica: str, snapshot: Snapshot) -> None:
        """Take a replica's numbers."""

    async def exposition(self) -> bytes:
        """Return all replicas' metrics in Prometheus' text format."""

    async def summary(self) -> dict[str, object]:
        """Return all replicas' metrics as JSON."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who owns the facts that a replica holds copies of."""

    ledger: Ledger
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
        authorities = await self._connect()
        self._clients = {spec.name: _client(spec) for spec in settings.providers}
        self._directory = Directory(self._clients)
        self._circuits = Circuits(settings.breaker, groups=groups(settings.endpoints))
        self._telemetry = Telemetry(settings.endpoints, settings.accounts)
        self._hub = authorities.hub
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

    async def stop(self) -> None:
        """Hand everything back: settle, return the leases, say the last numbers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._wallet.close()
        await self._hub.push(self._name, self._telemetry.snapshot())
        for client in self._clients.values():
            await client.close()
