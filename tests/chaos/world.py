"""A real Compass with three replicas before the simulator, and hands on its processes."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import httpx
import yaml

from compass_ray import processes, serve_config
from compass_ray.config import new_key
from compass_ray.local_cluster import LocalCluster
from compass_ray.simulator import SimulatorProcess

from .generator import TENANTS

ROOT = Path(__file__).parents[2]
REPLICA = "ServeReplica:compass:Gateway"
REPLICAS = 3
INPUT, OUTPUT = 2, 10
"""Micro-dollars per token of every model `sim…`."""

BURST_COST = 400
"""Micro-dollars of a request to the model `burst` with 40 tokens: its reserve is its cost."""

BURSTS = {"equal": 666, "killed": 666, "mixed": 666}
"""Accounts whose limit is so many times `BURST_COST`."""

_PROVIDERS = ("openai", "anthropic", "google")
_PATIENCE = {"first_byte_s": 3, "idle_s": 2, "total_s": 20}

_HOUSE = {"kind": "openai", "base_url_env": ["OPENAI_BASE_URL"], "key_env": ["OPENAI_API_KEY"]}
"""A provider that has all the time it needs: a thousand at once are slow on a small machine."""

T = TypeVar("T")


class World:
    """The running gateway, as its clients, its operator and its enemies see it."""

    def __init__(self, cluster: LocalCluster, simulator: SimulatorProcess, state: Path) -> None:
        self.cluster = cluster
        self.simulator = simulator
        self.state = state
        self.sessions = [cluster._child.pid]
        """Of processes: the head's, and one of each other node."""
        self.keys: dict[str, str] = {}
        self.provider_keys: list[str] = []

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return self.cluster.url

    @property
    def ledger_file(self) -> Path:
        """The Ledger's database."""
        return self.state / "ledger.db"

    def processes(self, title: str = "") -> dict[int, str]:
        """Return PID to title of the Ray processes whose title begins so, `ray::` left out."""
        found = {}
        for session in self.sessions:
            for pid in processes.members(session):
                name = _title(pid)
                if name.startswith(f"ray::{title}"):
                    found[pid] = name.removeprefix("ray::")
        return found

    def wait_whole(self) -> None:
        """Wait until every replica is there, those in place of killed ones too."""
        wait(lambda: len(self.processes(REPLICA)) == REPLICAS, 60)

    def kill(self, title: str, choose: Callable[[list[int]], int] = min) -> int | None:
        """Kill one process with that title at once; return its PID."""
        pids = sorted(self.processes(title))
        if not pids:
            return None  # it is about to be restarted
        pid = choose(pids)
        kill(pid)
        return pid

    def pause(self, title: str, choose: Callable[[list[int]], int] = min) -> Callable[[], None]:
        """Stop one process with that title; return what lets it go on."""
        pids = sorted(self.processes(title))
        if not pids:
            return lambda: None
        pid = choose(pids)

        def resume() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        return resume

    def redeploy(self, server: dict[str, object]) -> None:
        """Deploy anew with these changes of `server`; Serve replaces the replicas one by one."""
        config = yaml.safe_load((self.cluster.folder / "serve_config.yaml").read_text())
        (application,) = config["applications"]
        application["args"]["server"] |= server
        file = self.cluster.folder / "redeploy.yaml"
        file.write_text(yaml.safe_dump(config))
        subprocess.run(
            [sys.executable, "-m", "ray.serve.scripts", "run", "--non-blocking", str(file)],
            env={**os.environ, **self.cluster.joining, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            timeout=90,
        )

    def close_circuits(self) -> None:
        """Reset every circuit, also where a replica alone has opened one."""
        headers = {"authorization": f"Bearer {self.keys['operator']}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=10) as operator:
            for circuit in operator.get("/api/v1/circuits").raise_for_status().json()["data"]:
                order = {"endpoint": circuit["endpoint"], "action": "reset"}
                operator.post("/api/v1/circuits", json=order).raise_for_status()

    def logs(self) -> Iterator[tuple[Path, str]]:
        """Yield every log of every process, Ray's included."""
        for path in self.cluster.folder.rglob("*"):
            if path.suffix in {".log", ".err", ".out"} and path.is_file():
                yield path, path.read_text(errors="replace")


@contextlib.contextmanager
def running(
    state: Path,
    seed: int,
    settings: Mapping[str, str] | None = None,
    *,
    whole: bool = True,
    cluster_class: type[LocalCluster] = LocalCluster,
) -> Iterator[World]:
    """Start everything, with these variables in its environment, and end it all.

    Not `whole`, each node has one replica at most, and the others wait for more nodes.
    """
    keys = {name: new_key() for name in (*TENANTS, *BURSTS, "operator")}
    config = serve_config.read(ROOT / "serve_config.yaml", free_port())
    (application,) = config["applications"]
    digests = {name: digest for name, (_, digest) in keys.items()}
    application["args"] = configuration(state, digests)
    gateway: dict[str, object] = {"name": "Gateway", "num_replicas": REPLICAS}
    if not whole:
        gateway["max_replicas_per_node"] = 1
        config["proxy_location"] = "HeadOnly"  # all nodes would listen on one machine's port
    application["deployments"] = [gateway]
    with SimulatorProcess(seed=seed) as simulator:
        environment = {
            name: f"sk-{secrets.token_hex(16)}" if name.endswith("_KEY") else value
            for name, value in simulator.environment().items()
        }
        cluster = cluster_class(
            config, import_from=ROOT, settings={**environment, **(settings or {})}
        )
        try:
            cluster.start()
            cluster.wait_ready(180, lambda _step: None)
            world = World(cluster, simulator, state)
            world.keys = {name: key for name, (key, _) in keys.items()}
            world.provider_keys = [v for n, v in environment.items() if n.endswith("_KEY")]
            if whole:
                world.wait_whole()
            yield world
            cluster.drain()
        finally:
            cluster.end()


def configuration(state: Path, digests: dict[str, str]) -> dict[str, object]:
    """Return the gateway's settings: short time-outs and cooldowns, so that all comes around."""
    providers: dict[str, object] = {name: {"timeouts": _PATIENCE} for name in _PROVIDERS}
    models = {f"sim-{name}": _model([name]) for name in _PROVIDERS}
    tenants = {name: {"parent": "org"} for name in TENANTS}
    return {
        "server": {"state_dir": str(state), "log_requests": True, "request_timeout_s": 25},
        "providers": {
            **providers,
            "house": _HOUSE,
            "local": {"enabled": False},
            "replicate": {"enabled": False},  # is told prompts in a template: the log has no digest
        },
        "models": {**models, "sim": _model(_PROVIDERS), "burst": _model(["house"], wire="gpt-6")},
        "breaker": {"cooldowns_s": [1, 2, 4]},
        "accounts": {
            "org": {"budget": {"month": {"usd": 1000}}},
            **tenants,
            "green": {"parent": "org", "budget": {"day": {"usd": 100}}},
            "blue": {"parent": "org", "budget": {"lifetime": {"usd": "0.05"}}},
            **{
                name: {
                    "parent": "org",
                    "budget": {"lifetime": {"usd": f"{count * BURST_COST / 1e6:.6f}"}},
                }
                for name, count in BURSTS.items()
            },
        },
        "keys": [
            {
                "name": name,
                "account": "org" if name == "operator" else name,
                "admin": name == "operator",
                "hash": digest,
            }
            for name, digest in digests.items()
        ],
    }


def wait(condition: Callable[[], T], seconds: float) -> T:
    """Poll until `condition()` gives something; bounded."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def kill(pid: int) -> None:
    """End a process at once, where it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _model(providers: list[str] | tuple[str, ...], wire: str = "sim-1") -> dict[str, object]:
    price = {"input": 0 if wire == "gpt-6" else INPUT, "output": OUTPUT}
    return {
        "tier": 3,
        "context_window": 100_000,
        "max_output_tokens": 1_000,
        "capabilities": ["tools", "json_schema", "vision"],
        "endpoints": [{"provider": p, "wire_model": wire, "price": price} for p in providers],
    }


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0 ")
    except OSError:
        return ""
