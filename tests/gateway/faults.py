"""A gateway whose providers are reached over real connections, at the simulator."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field, replace

from compass_ray.gateway.admission import Admission
from compass_ray.gateway.attempts import Attempts
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.circuits import Circuits
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.job import Clock
from compass_ray.gateway.pipeline import Gateway, Settings
from compass_ray.policy.breaker import BreakerConfig
from compass_ray.policy.plan import Plan
from compass_ray.policy.retry import RetryPolicy
from compass_ray.policy.select import Catalogue, Weights
from compass_ray.providers.base import Target
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import wire
from compass_ray.rules import shipped_rules
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import CompassError
from compass_ray.types.settings import TimeoutSettings

from .conftest import Directory, Purse, Recorder, endpoint

PATHS = {"openai": "openai/v1", "anthropic": "anthropic", "google": "google"}
MODELS = {"openai": "sim-1", "anthropic": "claude-haiku-4-5", "google": "sim-1"}
RULES = shipped_rules()
TIMEOUTS = TimeoutSettings(connect=2, first_byte=2, idle=2, total=20)


@dataclass
class Lab:
    """Gateways before one simulator; each has circuits and a purse of its own."""

    simulator: object
    timeouts: TimeoutSettings = TIMEOUTS
    max_parallel: int = 100
    clients: dict = field(default_factory=dict)

    def client(self, kind):
        if kind not in self.clients:
            target = Target(f"{self.simulator.url}/{PATHS[kind]}", "sk-simulated")
            self.clients[kind] = ProviderClient(
                wire(kind), self.timeouts, self.max_parallel, target
            )
        return self.clients[kind]

    def gateway(self, *kinds, retry=None, timeout=20.0, **more):
        """Return a gateway over these kinds of provider, and more as they come."""
        loop = asyncio.get_running_loop()
        clock = Clock(time.time, loop.time, asyncio.sleep, random.random)
        providers = {kind: self.client(kind) for kind in kinds} | more
        purse, circuits, recorder = (
            Purse(),
            Circuits(BreakerConfig(consecutive_failures=1)),
            Recorder(),
        )
        gateway = Gateway(
            settings=Settings(
                limits=Limits(),
                callers=Callers({}, Caller("anonymous", "open")),
                rules=RULES,
                embedders=Catalogue((), embeddings=True),
                catalogue=Catalogue(
                    [
                        replace(
                            endpoint(name, expected_ttft=0.2 + place / 100),
                            wire_model=MODELS.get(name, "m"),
                        )
                        for place, name in enumerate(providers)
                    ]
                ),
                plan=Plan(Weights()),
                timeout=timeout,
            ),
            attempts=Attempts(
                providers,
                Admission(purse, circuits, time.time),
                retry or RetryPolicy(backoff_base=0.01),
                clock,
            ),
            directory=Directory(),
            circuits=circuits,
            wallet=purse,
            recorder=recorder,
            clock=clock,
        )
        return Called(gateway, purse, circuits, recorder)

    async def aborted(self, count=1):
        """Return the log's entries of calls that were aborted, once there are so many."""
        async with asyncio.timeout(5):
            while True:
                log = await asyncio.to_thread(self.simulator.log)
                found = [entry for entry in log if entry["aborted"]]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)

    async def close(self):
        for client in self.clients.values():
            await client.close()


@dataclass
class Called:
    """A gateway and what it did."""

    gateway: Gateway
    purse: Purse
    circuits: Circuits
    recorder: Recorder
    asked: int = 0

    async def ask(self, text="hello", **fields):
        body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        raw = json.dumps(body | {"max_tokens": 60} | fields).encode()
        self.asked += 1
        return await self.gateway.answer(raw, self.gateway.authenticate(None), f"req_{self.asked}")

    async def stream(self, text="hello", **fields):
        """Return what a client sees of a stream: its chunks, and the error that ended it."""
        seen = Seen()
        try:
            reply = await self.ask(text, stream=True, **fields)
        except CompassError as error:
            seen.error = error
            return seen
        try:
            async for body in reply.chunks():
                seen.add(body)
        except CompassError as error:
            seen.error = error
        finally:
            await reply.close()
        return seen

    async def failure(self, *, stream, **fields):
        """Return the error that a request ends with."""
        if stream:
            return (await self.stream(**fields)).error
        try:
            await self.ask(**fields)
        except CompassError as error:
            return error

    def opened(self):
        """Return the endpoints whose circuits count a failure: one opens them here."""
        statuses = self.circuits.statuses(time.time())
        return {name for name, status in statuses.items() if status.phase == "open"}


@dataclass
class Seen:
    """A stream as a client sees it."""

    text: str = ""
    finish: str | None = None
    error: CompassError | None = None
    bodies: list = field(default_factory=list)

    def add(self, body):
        self.bodies.append(body)
        if body.get("compass", {}).get("event") == "restart":
            self.text = ""
        for choice in body["choices"]:
            self.text += choice["delta"].get("content") or ""
            self.finish = choice["finish_reason"] or self.finish

    @property
    def ends(self):
        """How many ends it had; it must be one."""
        return (self.finish is not None) + (self.error is not None)
