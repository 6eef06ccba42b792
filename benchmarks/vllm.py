"""Measures what Compass adds to the time to the first token of a model on vLLM.

One machine, one model, three ways to it: vLLM's own server, the local models' application, and
Compass before that. One caller streams from each in turns, so that all see the same machine.
Needs `make test-vllm` to have built the environment of vLLM. See README.md beside it.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.figures import Bar, added, median_over, percentile
from benchmarks.system import Child, answers, free_port
from compass_ray import serve_config
from compass_ray.local_cluster import LocalCluster

_ROOT = Path(__file__).resolve().parent.parent
_PYTHON = _ROOT / ".vllm-venv/bin/python"
_READY_SECONDS = 300.0
_ALLOWED_MS = 5.0
_CPU = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
}
"""What the local models' application sets by itself."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100, help="by each way in a round")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = folder / "tiny"
        subprocess.run([_PYTHON, _ROOT / "tests/vllm/tiny_llama.py", model], check=True)
        ways = {
            "vLLM alone": stack.enter_context(_vllm(model, folder)),
            **stack.enter_context(_compass(model, folder)),
        }
        for url in ways.values():
            _first_tokens(url, 20)
        rounds = [_round(ways, options.requests) for _ in range(options.rounds)]
    _print(rounds, list(ways))


def _round(ways: dict[str, str], requests: int) -> dict[str, dict[str, dict[str, float]]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(requests // 10):
        for name, url in ways.items():
            taken[name] += _first_tokens(url, 10)
    return {
        name: {"stream": {f"p{share}": percentile(one, share / 100) for share in (50, 99)}}
        for name, one in taken.items()
    }


def _first_tokens(url: str, requests: int) -> list[float]:
    """Return the milliseconds to the first token of so many streams, one after another."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    body = json.dumps(
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 8,
            "stream": True,
            "ignore_eos": True,
        }
    )
    taken = []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("POST", parts.path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        while not _holds_text(response.readline()):
            pass
        taken.append((time.perf_counter() - began) * 1e3)
        response.read()
    connection.close()
    return taken


def _holds_text(line: bytes) -> bool:
    """Return whether an event brings a piece of the answer, not only a role.

    Raises:
        SystemExit: the stream ended, or is an error.
    """
    if not line or line.startswith(b"{") or b'"error"' in line:
        sys.exit(f"no stream: {line!r}")
    if not line.startswith(b"data: {"):
        return False
    return any(one["delta"].get("content") for one in json.loads(line[6:])["choices"])


@contextmanager
def _vllm(model: Path, folder: Path) -> Iterator[str]:
    port = free_port()
    program = [_PYTHON, "-m", "vllm.entrypoints.openai.api_server"]
    options = [
        *("--model", model, "--served-model-name", "tiny", "--dtype", "bfloat16"),
        *("--enforce-eager", "--distributed-executor-backend", "uni"),
        *("--host", "127.0.0.1", "--port", port, "--disable-uvicorn-access-log"),
    ]
    child = Child([str(one) for one in (*program, *options)], folder / "vllm.log", _CPU)
    try:
        url = f"http://127.0.0.1:{port}"
        child.wait_for(lambda: answers(f"{url}/health"), _READY_SECONDS)
        yield f"{url}/v1/chat/completions"
    finally:
        child.stop()


@contextmanager
def _compass(model: Path, folder: Path) -> Iterator[dict[str, str]]:
    port = free_port()
    config = serve_config.read(_ROOT / "serve_config.yaml", port)
    (gateway,) = config["applications"]
    gateway["args"] = _settings(port, folder)
    config["applications"].append(
        {
            "name": "local-models",
            "import_path": "deployments.local_models:build",
            "route_prefix": "/vllm",
            "runtime_env": {**gateway["runtime_env"], "py_executable": str(_PYTHON)},
            "args": {"models": [_tiny(model)]},
        }
    )
    cluster = LocalCluster(config, import_from=_ROOT, settings={})
    try:
        cluster.start()
        cluster.wait_ready(_READY_SECONDS, lambda _step: None)
        _wait_for_model(f"{cluster.url}/vllm/v1/models")
        yield {
            "local models": f"{cluster.url}/vllm/v1/chat/completions",
            "Compass": f"{cluster.url}/v1/chat/completions",
        }
    finally:
        cluster.end()


def _tiny(model: Path) -> dict[str, Any]:
    engine = {"dtype": "bfloat16", "enforce_eager": True}
    source = {"name": "tiny", "source": str(model), "num_gpus": 0, "min_replicas": 1}
    return {**source, "engine": engine}


def _settings(port: int, folder: Path) -> dict[str, Any]:
    endpoint = {"provider": "vllm", "wire_model": "tiny", "price": {"input": 0, "output": 0}}
    vllm = {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/vllm/v1"}
    return {
        "server": {"state_dir": str(folder / "state")},
        "providers": {"vllm": vllm, "local": {"kind": "local", "enabled": False}},
        "models": {
            "tiny": {
                "tier": 3,
                "context_window": 16_384,
                "max_output_tokens": 1_000,
                "endpoints": [endpoint],
            }
        },
    }


def _wait_for_model(url: str) -> None:
    parts = urlsplit(url)
    deadline = time.monotonic() + _READY_SECONDS
    state = None
    while state != "ready":
        if time.monotonic() > deadline:
            sys.exit("the model does not start")
        time.sleep(0.5)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        connection.request("GET", parts.path)
        response = connection.getresponse()
        told = response.read()
        if response.status == http.client.OK:
            state = json.loads(told)["data"][0]["state"]


def _print(rounds: list[dict[str, dict[str, dict[str, float]]]], names: list[str]) -> None:
    print("time to the first token, one caller, ms (median over the rounds)")
    for name in names:
        told = [median_over(rounds, name, "stream", figure) or 0.0 for figure in ("p50", "p99")]
        print(f"  {name:<14} p50 {told[0]:7.2f}   p99 {told[1]:7.2f}")
    base, *others = names
    for name in others:
        more = added(rounds, name, base, "stream", "p50")
        spread = statistics.pstdev(
            each[name]["stream"]["p50"] - each[base]["stream"]["p50"] for each in rounds
        )
        print(f"  {name} adds {more:.2f} ms to the median, ± {spread:.2f} between rounds")
    bar = Bar("Compass adds to vLLM's first token", more, _ALLOWED_MS, "ms")
    print(f"{bar.text}: {bar.measured:.2f} {bar.unit}, allowed {bar.limit:g}: {bar.met}")


if __name__ == "__main__":
    main()
