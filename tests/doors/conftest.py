"""The real application on a socket, without Ray, with the simulator behind it."""

import asyncio
import gc
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import uvicorn

from compass_ray.actors.batches import BatchesActor
from compass_ray.actors.breaker import BreakerActor
from compass_ray.actors.idempotency import IdempotencyActor
from compass_ray.actors.learner import LearnerActor
from compass_ray.actors.ledger import LedgerActor
from compass_ray.actors.metrics import MetricsHub
from compass_ray.actors.provider import ProviderActor, ProviderSettings
from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.config import load, new_key
from compass_ray.serving.ingress import Ingress
from compass_ray.serving.replica import Authorities, Replica, groups
from compass_ray.simulator import SimulatorProcess

PROVIDERS = ("openai", "anthropic", "google")
EMBEDDERS = ("openai", "azure", "google", "huggingface")
DIMENSIONS = 64
PRICE = {"input": 2.0, "output": 10.0}  # micro-dollars per token
CAPABLE = ["tools", "json_schema", "vision", "documents", "audio", "reasoning"]


def _model(provider, capabilities, price=PRICE):
    return {
        "tier": 3,
        "context_window": 100_000,
        "max_output_tokens": 4_000,
        "capabilities": capabilities,
        "endpoints": [{"provider": provider, "wire_model": "sim-1", "price": price}],
    }


def _embedder(*providers, shortens=False):
    price = {"input": 2.0, "output": 0}
    return {
        "tier": 4,
        "context_window": 1_000,
        "embedding": {"dimensions": DIMENSIONS, "shortens": shortens},
        "endpoints": [
            {"provider": name, "wire_model": "sim-1", "price": price} for name in providers
        ],
    }


@dataclass
class Gateway:
    """A running gateway: where, for whom, and what is behind it."""

    url: str
    key: str
    poor_key: str
    simulator: SimulatorProcess

    def script(self, **then):
        """Make every request meet this behaviour."""
        self.simulator.script([{"then": then}])


class _Server(threading.Thread):
    """Uvicorn in a thread, until it is told to stop."""

    def __init__(self, settings, env):
        super().__init__()
        self._settings = settings
        self._env = env
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.replica = Replica(settings, self._connect, self._host)
        config = uvicorn.Config(Ingress(self.replica), log_level="warning", lifespan="on")
        self._server = uvicorn.Server(config)

    async def _host(self):
        return "127.0.0.1"

    async def _connect(self):
        settings = self._settings
        self._providers = {
            spec.name: ProviderActor(
                ProviderSettings(
                    spec.name, spec.kind, spec.base_url, spec.key_names, spec.base_url_names
                ),
                environ=self._env,
            )
            for spec in settings.providers
            if spec.kind != "local"
        }
        folder = settings.server.state_dir
        return Authorities(
            LedgerActor(folder / "ledger.db", settings.accounts),
            BreakerActor(settings.breaker, groups(settings, self._env)),
            self._providers,
            MetricsHub(),
            IdempotencyActor(folder / "idempotency.db", settings.idempotency),
            LearnerActor(folder / "decisions.db"),
            WorkflowsActor(folder / "workflows.db", gateway=None),
            BatchesActor(folder / "batches.db", folder / "files", self, settings.batches),
        )

    async def ask(self, *asked):
        """Answer a batch's request, as any replica would."""
        return await self.replica.lines.ask(*asked)

    def run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        await self._server.serve([self._socket])
        for provider in self._providers.values():
            await provider.close()

    def ready(self):
        if not self._server.started or not hasattr(self.replica, "_directory"):
            return False
        reported = {status.name for status in self.replica._directory.statuses()}
        return {*PROVIDERS, *EMBEDDERS} <= reported

    def end(self):
        self._server.should_exit = True
        self.join(20)
        self._socket.close()


@contextmanager
def serving(folder):
    """Serve the application on a simulator of its own, with its state in that folder."""
    key, digest = new_key()
    poor_key, poor_digest = new_key()
    models = {f"sim-{name}": _model(name, CAPABLE) for name in PROVIDERS}
    models["sim-blind"] = _model("openai", [])
    models["sim-half"] = _model("openai", [], price=PRICE | {"batch": 0.5})
    models |= {f"embed-{name}": _embedder(name) for name in EMBEDDERS}
    models["embed-twice"] = _embedder("openai", "azure", shortens=True)
    shipped = [one.model for one in load({}, {}, folder).endpoints if one.embedding is not None]
    models |= dict.fromkeys(shipped)  # `auto` is to be one of the simulator's
    inline = {
        "server": {"state_dir": str(folder)},
        "models": models,
        "accounts": {
            "rich": {"budget": {"month": {"usd": 1000}}},
            "poor": {"budget": {"lifetime": {"usd": "0.000001"}}},
        },
        "keys": [
            {"name": "rich", "account": "rich", "hash": digest},
            {"name": "poor", "account": "poor", "hash": poor_digest},
        ],
    }
    thresholds = gc.get_threshold()
    with SimulatorProcess(seed=1) as simulator:
        server = _Server(load(inline, {}, folder), simulator.environment())
        server.start()
        tick = threading.Event()
        for _ in range(600):
            if server.ready() or not server.is_alive():
                break
            tick.wait(0.05)
        try:
            assert server.is_alive(), "the gateway did not start"
            yield Gateway(f"http://127.0.0.1:{server.port}", key, poor_key, simulator)
        finally:
            server.end()
            gc.unfreeze()
            gc.set_threshold(*thresholds)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("doors")) as gateway:
        yield gateway


@pytest.fixture
def gateway(running):
    """The gateway before a simulator that does nothing unusual."""
    running.simulator.reset()
    return running
