"""One real Compass for the whole session: HAProxy, replicas and actors, before the simulator."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from benchmarks import proc
from benchmarks.system import free_port
from compass_ray import model_file, processes, serve_config
from compass_ray.config import new_key
from compass_ray.local_cluster import LocalCluster
from compass_ray.simulator import SimulatorProcess
from compass_ray.simulator.embeddings import DIMENSIONS

ROOT = Path(__file__).parents[2]
WIRE_MODELS = {
    **dict.fromkeys(("openai", "azure", "anthropic", "google", "huggingface"), "sim-1"),
    "replicate": "simulator/sim-1",
}
POOL = {"POOLED_KEY": "sk-revoked-1234", "POOLED_KEY_2": "sk-pooled-5678"}
PRICE = {"input": 2.0, "output": 10.0}  # micro-dollars per token
EXPERIMENT = {"name": "one", "share": 0.01, "variant": {"tiers": {"simple_qa": 3}}}
"""So small that nobody takes part whom a test does not look for."""


HOOK_SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBob29rcyBvZiBhIHRlc3Q="


class Hook(ThreadingHTTPServer):
    """A webhook: answers with each of `answers`, then with 204, and keeps what it got."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Takes)
        self.answers, self.got = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error):
        self.shutdown()
        self.server_close()


class _Takes(BaseHTTPRequestHandler):
    def do_POST(self):  # the name that http.server looks for
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(
            ({name.lower(): value for name, value in self.headers.items()}, body)
        )
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.end_headers()

    def log_message(self, *_said):
        """Say nothing."""


@dataclass
class Compass:
    """The running gateway, as its callers and its operator see it."""

    url: str
    key: str
    poor_key: str
    slow_key: str
    admin_key: str
    rules: Path
    """The rules file, for tests to edit; it begins as the shipped one."""
    cluster: LocalCluster
    simulator: SimulatorProcess
    ledger_file: Path
    hook: Hook
    """The one webhook that runs may name."""

    def client(self, key=None):
        return httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key or self.key}"},
            timeout=30,
            trust_env=False,
        )

    def async_client(self, key=None):
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {key or self.key}"},
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(max_connections=64),
        )

    def process(self, title):
        """Return the PID of the one process whose title begins with `ray::<title>`."""
        return self.processes(title)[0]

    def processes(self, title):
        session = self.cluster._child.pid
        return [
            pid for pid in processes.members(session) if proc.title(pid).startswith(f"ray::{title}")
        ]

    def wait(self, condition, seconds=30):
        """Poll until `condition()` gives something; bounded."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = condition()
            except (httpx.HTTPError, IndexError):
                found = None
            if found:
                return found
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def compass(tmp_path_factory):
    with running(tmp_path_factory.mktemp("state")) as compass:
        yield compass


@contextmanager
def running(state, replicas=1):
    """Start a Compass on a simulator of its own, with its state in that folder, and end both."""
    model_file.fetch(print)
    key, digest = new_key()
    poor_key, poor_digest = new_key()
    slow_key, slow_digest = new_key()
    admin_key, admin_digest = new_key()
    rules = state / "rules.yaml"
    rules.write_bytes((ROOT / "compass_ray" / "data" / "rules.yaml").read_bytes())
    config = serve_config.read(ROOT / "serve_config.yaml", free_port())
    (application,) = config["applications"]
    application["deployments"] = [{"name": "Gateway", "num_replicas": replicas}]
    application["args"] = {
        "server": {"state_dir": str(state), "log_requests": True},
        "models": {
            f"sim-{name}": {
                "tier": 3,
                "context_window": 100_000,
                "max_output_tokens": 1_000,
                "capabilities": [] if name == "replicate" else ["tools", "json_schema", "vision"],
                "endpoints": [{"provider": name, "wire_model": wire_model, "price": PRICE}],
            }
            for name, wire_model in WIRE_MODELS.items()
        }
        | {
            "sim-pair": {
                "tier": 3,
                "context_window": 100_000,
                "max_output_tokens": 1_000,
                "endpoints": [
                    {"provider": name, "wire_model": "sim-1", "price": PRICE}
                    for name in ("openai", "anthropic")
                ],
            },
            "sim-pooled": {
                "tier": 3,
                "context_window": 100_000,
                "max_output_tokens": 1_000,
                "endpoints": [{"provider": "pooled", "wire_model": "sim-1", "price": PRICE}],
            },
            "sim-embed": {
                "tier": 4,
                "context_window": 1_000,
                "embedding": {"dimensions": DIMENSIONS},
                "endpoints": [
                    {"provider": name, "wire_model": "sim-1", "price": PRICE}
                    for name in ("openai", "google")
                ],
            },
        },
        "providers": {
            "pooled": {
                "kind": "openai",
                "base_url_env": ["OPENAI_BASE_URL"],
                "key_env": ["POOLED_KEY"],
                "more_keys_env": ["POOLED_KEY_2"],
            }
        },
        "accounts": {
            "org": {"budget": {"month": {"usd": 1000}}},
            "rich": {"parent": "org"},
            "poor": {"parent": "org", "budget": {"lifetime": {"usd": "0.01"}}},
            "slow": {"parent": "org", "rates": {"requests_per_minute": 20}},
        },
        "keys": [
            {"name": "rich", "account": "rich", "hash": digest, "metrics": True},
            {"name": "poor", "account": "poor", "hash": poor_digest},
            {"name": "slow", "account": "slow", "hash": slow_digest},
            {"name": "ops", "account": "org", "hash": admin_digest, "admin": True},
        ],
        "routing": {"rules": str(rules), "experiments": [EXPERIMENT]},
    }
    with SimulatorProcess(seed=1) as simulator, Hook() as hook:
        application["args"]["workflows"] = {
            "webhooks": {"allow": [hook.url], "secret_env": ["HOOK_SECRET"]}
        }
        environment = simulator.environment() | POOL | {"HOOK_SECRET": HOOK_SECRET}
        cluster = LocalCluster(config, import_from=ROOT, settings=environment)
        try:
            cluster.start()
            cluster.wait_ready(180, print)
            ledger = state / "ledger.db"
            keys = (key, poor_key, slow_key, admin_key)
            compass = Compass(cluster.url, *keys, rules, cluster, simulator, ledger, hook)
            compass.wait(lambda: _all_healthy(compass))
            yield compass
            cluster.drain()
        finally:
            cluster.end()


def _all_healthy(compass):
    with compass.client() as client:
        listed = client.get("/api/v1/providers").json()["data"]
    return listed and all(provider["configured"] for provider in listed)


@pytest.fixture(autouse=True)
def _calm_simulator(request):
    """Every test begins with a simulator that does nothing unusual."""
    if "compass" in request.fixturenames:
        request.getfixturevalue("compass").simulator.reset()
