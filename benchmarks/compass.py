"""Compass as its users run it: `serve run` on Ray, everything switched on, one replica.

Callers have API keys; their account and the one above it have budgets; `model: auto` routes over
the whole shipped catalogue. Every provider of it leads to the upstream, so any choice is answered.
"""

import time
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from benchmarks import proc
from benchmarks.contract import Shape, mark, request_body
from benchmarks.system import NotReady, System
from compass_ray import processes, serve_config
from compass_ray.config import new_key
from compass_ray.local_cluster import ClusterFailed, LocalCluster

_SERVE_CONFIG = Path(__file__).resolve().parent.parent / "serve_config.yaml"
_START_TIMEOUT = 180.0
_PROVIDERS = ("openai", "anthropic", "google")
_KEY_VARIABLE = "BENCH_PROVIDER_KEY"


def start(upstream: str, port: int, folder: Path) -> tuple[LocalCluster, System]:
    """Start Ray and Compass before the provider at `upstream`; `folder` takes the state.

    Raises:
        NotReady: it did not come up, or does not answer.
    """
    key, digest = new_key()
    config = serve_config.read(_SERVE_CONFIG, port)
    (application,) = config["applications"]
    application["args"] = _settings(upstream, digest, folder)
    cluster = LocalCluster(
        config, import_from=_SERVE_CONFIG.parent, settings={_KEY_VARIABLE: "unused"}
    )
    try:
        cluster.start()
        cluster.wait_ready(_START_TIMEOUT, lambda _step: None)
        url = f"{cluster.url}/v1/chat/completions"
        _wait_for_answer(url, key)
        return cluster, _system(cluster, url, key)
    except BaseException as error:
        log = cluster.log_file.read_text(errors="replace") if cluster.log_file.exists() else ""
        cluster.end()
        if isinstance(error, ClusterFailed | NotReady):
            why = getattr(error, "log", log[-3000:])
            raise NotReady(f"compass: {error}\n{why}") from error
        raise


def _settings(upstream: str, digest: str, folder: Path) -> dict[str, Any]:
    provider = {
        "kind": "openai",
        "base_url": f"{upstream}/v1",
        "base_url_env": [],
        "key_env": [_KEY_VARIABLE],
    }
    return {
        "server": {"state_dir": str(folder / "state")},
        "providers": {
            **dict.fromkeys(_PROVIDERS, provider),
            "local": {"kind": "local", "enabled": False},
        },
        "accounts": {
            "company": {"budget": {"month": {"usd": 1_000_000}}},
            "team": {"parent": "company", "budget": {"day": {"usd": 100_000}}},
        },
        "keys": [{"name": "bench", "hash": digest, "account": "team"}],
    }


def _wait_for_answer(url: str, key: str) -> None:
    """Return when a call succeeds: a replica is healthy before it knows its providers."""
    before, after = request_body("auto", Shape())
    body = b"".join((before, mark(0, Shape()), after))
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    deadline = time.monotonic() + 30.0
    while True:
        response = httpx.post(url, content=body, headers=headers, timeout=10.0, trust_env=False)
        if response.is_success:
            return
        if time.monotonic() > deadline:
            raise NotReady(f"status {response.status_code}: {response.text[:1000]}")
        time.sleep(0.5)


def _system(cluster: LocalCluster, url: str, key: str) -> System:
    """Find the processes by what the cluster's folder and Ray's titles say."""
    (session,) = proc.find(str(cluster.folder / "serve_config.yaml"))
    replicas = [
        pid
        for pid in processes.members(session)
        if proc.title(pid).startswith("ray::ServeReplica:compass:")
    ]
    if len(replicas) != 1:
        raise NotReady(f"{len(replicas)} replicas, not one")
    return System(
        name="compass",
        url=url,
        model="auto",
        key=key,
        session=session,
        worker=replicas[0],
        about={"version": metadata.version("compass-ray")},
    )
