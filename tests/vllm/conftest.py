"""A real Compass and a real vLLM on the CPU, on one Ray: the tests call both over HTTP."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks import proc
from benchmarks.system import free_port
from compass_ray import processes, serve_config
from compass_ray.local_cluster import LocalCluster
from compass_ray.simulator import SimulatorProcess

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".vllm-venv/bin/python"
PRICE = {"input": 0, "output": 0}


@dataclass
class Compass:
    """What the tests call: the gateway, and the local models behind it."""

    gateway: httpx.Client
    models: httpx.Client
    cluster: LocalCluster

    def wait(self, condition, seconds=90):
        """Poll until `condition()` gives something; bounded."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.2)
        return found

    def card(self, name="tiny"):
        """Return what the list of models says of one."""
        listed = self.models.get("/v1/models").json()["data"]
        return next(card for card in listed if card["id"] == name)

    def starting(self):
        """Return the models of which Compass knows that they have to start first."""
        listed = self.gateway.get("/api/v1/providers").json()["data"]
        return [name for one in listed for name in one["starts"]]

    def computes(self):
        """Return whether an engine uses more than a tenth of a processor."""
        before = _ticks(self.engines())
        time.sleep(0.3)
        return _ticks(self.engines()) - before > 0.03 * os.sysconf("SC_CLK_TCK")

    def engines(self):
        """Return the PIDs of vLLM's engines."""
        session = self.cluster._child.pid
        return [pid for pid in processes.members(session) if "EngineCore" in proc.title(pid)]


def _ticks(pids):
    """Return the processor time of these processes, in the system's ticks."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A random Llama that was made on the spot, and an adapter of it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    subprocess.run([PYTHON, Path(__file__).with_name("tiny_llama.py"), folder], check=True)
    return folder


@pytest.fixture(scope="session")
def compass(tiny, tmp_path_factory):
    port = free_port()
    config = serve_config.read(ROOT / "serve_config.yaml", port)
    (gateway,) = config["applications"]
    gateway["args"] = _gateway(port, tmp_path_factory.mktemp("state"))
    models = {
        "name": "local-models",
        "import_path": "deployments.local_models:build",
        "route_prefix": "/vllm",
        "runtime_env": {**gateway["runtime_env"], "py_executable": str(PYTHON)},
        "args": {"models": [_tiny(tiny), _vectors(tiny)]},
    }
    config["applications"].append(models)
    with SimulatorProcess(seed=1) as simulator:
        cluster = LocalCluster(config, import_from=ROOT, settings=simulator.environment())
        try:
            cluster.start()
            cluster.wait_ready(180, print)
            with (
                httpx.Client(base_url=cluster.url, timeout=120, trust_env=False) as to_gateway,
                httpx.Client(
                    base_url=f"{cluster.url}/vllm", timeout=120, trust_env=False
                ) as to_models,
            ):
                compass = Compass(to_gateway, to_models, cluster)
                compass.wait(lambda: to_models.get("/health").status_code == httpx.codes.OK)
                yield compass
        finally:
            cluster.end(keep_log=True)


def _tiny(folder):
    return {
        "name": "tiny",
        "source": str(folder),
        "num_gpus": 0,
        "idle_s": 5.0,
        "start_s": 60.0,
        "tool_parser": "hermes",
        "adapters": {"tiny-adapted": str(folder / "adapter")},
        "engine": {
            "dtype": "bfloat16",
            "enforce_eager": True,
            "max_lora_rank": 8,
        },
    }


def _vectors(folder):
    return {
        "name": "vectors",
        "source": str(folder),
        "num_gpus": 0,
        "idle_s": 5.0,
        "start_s": 60.0,
        "engine": {
            "dtype": "bfloat16",
            "enforce_eager": True,
            "runner": "pooling",
            "convert": "embed",
        },
    }


def _gateway(port, state):
    base_url = f"http://127.0.0.1:{port}/vllm/v1"
    return {
        "server": {"state_dir": str(state)},
        "providers": {"vllm": {"kind": "openai", "base_url": base_url}},
        "models": {
            "tiny": {
                "tier": 3,
                "context_window": 16_384,
                "max_output_tokens": 16_000,
                "capabilities": ["tools", "json_schema"],
                "endpoints": [
                    {"provider": "vllm", "wire_model": "tiny", "price": PRICE},
                    {
                        "provider": "openai",
                        "wire_model": "sim-1",
                        "price": {"input": 1, "output": 1},
                    },
                ],
            }
        },
    }
