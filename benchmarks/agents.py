"""Measures what a step of a durable workflow costs: Compass, plain asyncio, LangGraph.

Each runs a chain of calls before a provider that answers at once, and a fan-out, 64 calls at the
same time, before one that takes 90 ms. Compass is the
whole gateway on Ray, as its users run it: routing, budgets, ledger, and every event on disk before
it is acted on. LangGraph (in its own environment) calls the provider by itself and keeps each
checkpoint in SQLite. Plain asyncio keeps nothing: it is the bound. See README.md beside it.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from benchmarks import compass
from benchmarks.contract import Shape, mark
from benchmarks.system import System, free_port, installed, start_upstream

_ROOT = Path(__file__).resolve().parent.parent
_REQUIREMENTS = ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2", "aiohttp==3.14.5")
_SYSTEMS = ("asyncio", "LangGraph", "Compass")
_RUN_SECONDS = 300.0
_PROMPT = mark(0, Shape()).decode()
_LATENCY = 0.09
"""Seconds of a call of the fan-out: a quick model."""
_SLOW_PROMPT = mark(0, Shape(delay=_LATENCY)).decode()

Figures = dict[str, dict[str, float]]
"""Seconds by system and shape."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--steps", type=int, default=200, help="of a chain")
    add("--width", type=int, default=1_000, help="of a fan-out; a plan has 1,000 calls at most")
    add("--langgraph-env", type=Path, default=_ROOT / ".langgraph-venv")
    options = parser.parse_args()
    python = installed(options.langgraph_env, _REQUIREMENTS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, upstream = start_upstream(free_port(), folder, stack)
        cluster, system = compass.start(upstream, free_port(), folder)
        stack.callback(cluster.end)
        rounds = []
        for _ in range(options.rounds):
            command = [python, _ROOT / "benchmarks/langgraph_steps.py", upstream]
            command += [_PROMPT, _SLOW_PROMPT, str(options.steps), str(options.width)]
            told = subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
            )
            rounds.append(json.loads(told.stdout) | {"Compass": _compass(system, options)})
    _print(rounds, options.steps, options.width)


def _compass(system: System, options: argparse.Namespace) -> dict[str, float]:
    call = {"model": "openai/gpt-4o-mini", "max_tokens": 256}
    chain = [call | {"prompt": "{{previous}}"}] * options.steps
    fan = [call | {"prompt": _SLOW_PROMPT}] * options.width
    return {
        "chain": _run(system, {"chain": chain}),
        "fan": _run(system, {"parallel": fan}),
    }


def _run(system: System, plan: dict[str, Any]) -> float:
    """Return the seconds of one run, from asking for it until its last event is told."""
    base = system.url.removesuffix("/v1/chat/completions")
    headers = {"authorization": f"Bearer {system.key}"}
    asked = {"plan": plan, "input": _PROMPT, "budget_usd": "100"}
    with httpx.Client(base_url=base, headers=headers, timeout=_RUN_SECONDS) as client:
        client.get("/api/v1/health").raise_for_status()
        began = time.perf_counter()
        run = client.post("/api/v1/workflows", json=asked).raise_for_status().json()
        with client.stream("GET", run["streaming_url"]) as events:
            for _ in events.iter_lines():
                pass
        seconds = time.perf_counter() - began
        ended = client.get(f"/api/v1/workflows/{run['workflow_id']}").json()
    if ended["status"] != "completed":
        raise RuntimeError(f"the run has {ended['status']}: {ended}")
    return seconds


def _print(rounds: list[Figures], steps: int, width: int) -> None:
    print(f"{len(rounds)} rounds; medians, and in brackets the least and the most")
    print(f"| | ms a step, chain of {steps} | over asyncio | s, fan-out of {width} | of asyncio |")
    print("|---|---|---|---|---|")
    for name in _SYSTEMS:
        chain = [one[name]["chain"] / steps * 1e3 for one in rounds]
        more = [(one[name]["chain"] - one["asyncio"]["chain"]) / steps * 1e3 for one in rounds]
        fan = [one[name]["fan"] for one in rounds]
        times = [one[name]["fan"] / one["asyncio"]["fan"] for one in rounds]
        cells = (_span(chain, 2), _span(more, 2), _span(fan, 2), f"{_span(times, 1)} x")
        print(f"| {name} | {' | '.join(cells)} |")


def _span(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    main()
