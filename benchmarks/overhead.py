"""Measures what a gateway adds to a call: Compass and LiteLLM against calling the provider.

One run, one machine: a provider that costs almost nothing, each system before it, and one load
after another, so that all systems see the same machine. Writes a table, and on request JSON,
Markdown and a chart. See README.md beside it.
"""

import argparse
import datetime as dt
import importlib.util
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import compass, litellm, proc, report
from benchmarks.figures import Rounds
from benchmarks.load import KEY_VARIABLE
from benchmarks.promises import bars
from benchmarks.system import NotReady, System, environment, free_port, start_upstream
from compass_ray import processes

_ROOT = Path(__file__).resolve().parent.parent
_CHUNKS = 25
_PACE = 0.02


@dataclass(frozen=True, slots=True)
class Stage:
    """What was started: the systems under test, and the sessions of all processes."""

    systems: tuple[System, ...]
    sessions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load. `chunks` 0 asks for JSON; `delay` is seconds between an answer's chunks."""

    name: str
    connections: int
    chunks: int = 0
    delay: float = 0.0


SCENARIOS = (
    Scenario("json-1", 1),
    Scenario("json-16", 16),
    Scenario("json-64", 64),
    Scenario("sse-1", 1, _CHUNKS, _PACE),
    Scenario("sse-16", 16, _CHUNKS, _PACE),
    Scenario("flat-16", 16, _CHUNKS),
)


class LoadFailed(Exception):
    """A system gave a wrong answer, or none; there are no figures of such a run."""


def measure(system: System, scenario: Scenario, seconds: float) -> dict[str, float]:
    """Put one load on one system.

    Raises:
        LoadFailed: an answer was wrong, late or missing.
    """
    command = [sys.executable, "-m", "benchmarks.load", system.url, "--model", system.model]
    command += ["--connections", str(scenario.connections), "--chunks", str(scenario.chunks)]
    command += ["--delay", str(scenario.delay), "--seconds", str(seconds)]
    settings = environment({KEY_VARIABLE: system.key or ""})
    before = _cpu_seconds(system)
    done = subprocess.run(
        command, cwd=_ROOT, env=settings, capture_output=True, text=True, check=False
    )
    used = _cpu_seconds(system) - before
    if done.returncode:
        raise LoadFailed(f"{system.name}, {scenario.name}: {done.stderr[-2000:]}")
    figures = json.loads(done.stdout)
    if errors := figures.pop("errors"):
        lines = [f"  {count} times: {reason}" for reason, count in errors.items()]
        raise LoadFailed("\n".join([f"{system.name}, {scenario.name}:", *lines]))
    if system.session is not None:
        figures["cpu_ms_per_request"] = used * 1e3 / figures["all_requests"]
    if scenario.chunks:
        figures["chunks_per_second"] = figures["per_second"] * scenario.chunks
    return {name: float(value) for name, value in figures.items()}


def measure_rounds(systems: Sequence[System], rounds: int, seconds: float) -> Rounds:
    """Put every load on every system, in turns; each round begins with another system.

    Raises:
        LoadFailed
    """
    for system in systems:
        _say(f"warming up {system.name}")
        for scenario in SCENARIOS:
            measure(system, scenario, min(seconds, 1.0))
    found: list[dict[str, dict[str, dict[str, float]]]] = []
    for index in range(rounds):
        turn = index % len(systems)
        figures: dict[str, dict[str, dict[str, float]]] = {system.name: {} for system in systems}
        for scenario in SCENARIOS:
            _say(f"round {index + 1} of {rounds}: {scenario.name}")
            for system in (*systems[turn:], *systems[:turn]):
                figures[system.name][scenario.name] = measure(system, scenario, seconds)
        found.append(figures)
    _say("")
    return found


class Bystanders:
    """Watches how much of the machine is taken by programs that are no part of the run."""

    def __init__(self, sessions: Sequence[int]) -> None:
        self._sessions = sessions
        self._since = time.monotonic()
        self._before = self._seconds()

    def share(self) -> float:
        """Return the part of the processors' time that they took since then, 0 to 1."""
        elapsed = (time.monotonic() - self._since) * (os.cpu_count() or 1)
        return max(self._seconds() - self._before, 0.0) / elapsed

    def _seconds(self) -> float:
        pids = [pid for session in self._sessions for pid in processes.members(session)]
        ours = proc.cpu_seconds([os.getpid(), *pids])
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return proc.busy_seconds() - ours - children.ru_utime - children.ru_stime


def memory(system: System) -> dict[str, float]:
    """Return the memory of a system's worker and of all its processes, in megabytes."""
    if system.session is None or system.worker is None:
        return {}
    worker = proc.memory(system.worker)
    return {
        "worker_rss_mb": worker.rss,
        "worker_uss_mb": worker.uss,
        "all_pss_mb": proc.total_pss(processes.members(system.session)),
    }


def start(arguments: argparse.Namespace, stack: ExitStack) -> Stage:
    """Start the provider and the systems; `stack` ends them.

    Raises:
        NotReady: one of them did not come up.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overhead-")))
    provider, upstream = start_upstream(arguments.upstream_port or free_port(), folder, stack)
    systems = [System("direct", f"{upstream}/v1/chat/completions", "bench")]
    if "compass" in arguments.systems:
        _say("starting compass")
        cluster, system = compass.start(upstream, free_port(), folder)
        stack.callback(cluster.end)
        systems.append(system)
    if "litellm" in arguments.systems:
        _say("starting litellm")
        child, system = litellm.start(
            litellm.install(arguments.litellm_env), upstream, free_port(), folder
        )
        stack.callback(child.stop)
        systems.append(system)
    systems += arguments.also
    sessions = [system.session for system in systems if system.session is not None]
    return Stage(tuple(systems), (provider, *sessions))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, or 1 where there was an error (not where a bar is missed)."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.plot and not importlib.util.find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: uv pip install --group bench")
    signal.signal(signal.SIGTERM, _terminate)
    rounds, seconds = (2, 1.5) if arguments.quick else (arguments.rounds, arguments.seconds)
    about = _about(rounds, seconds)
    try:
        with ExitStack() as stack:
            stage = start(arguments, stack)
            bystanders = Bystanders(stage.sessions)
            figures = measure_rounds(stage.systems, rounds, seconds)
            about["bystanders_share"] = bystanders.share()
            about["systems"] = {system.name: dict(system.about) for system in stage.systems}
            used = {system.name: memory(system) for system in stage.systems}
    except (LoadFailed, NotReady) as error:
        print(f"\n{error}\nno figures: a system failed", file=sys.stderr)
        return 1
    run = report.Run(figures, used, bars(figures, used))
    print(report.table(run))
    print(f"\nother programs took {about['bystanders_share']:.0%} of the machine meanwhile")
    _write(arguments, run, about)
    return 0


def _write(arguments: argparse.Namespace, run: report.Run, about: dict[str, Any]) -> None:
    if arguments.json:
        judged = [asdict(bar) | {"met": bar.met} for bar in run.bars]
        whole = {"about": about, "memory": run.memory, "bars": judged, "rounds": run.rounds}
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(report.markdown(run))
    if arguments.plot:
        report.plot(run, arguments.plot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--systems", nargs="*", choices=("compass", "litellm"), default=["compass", "litellm"])
    add("--also", action="append", default=[], type=_running, metavar="NAME=URL#MODEL",
        help=f"a running system's chat-completions route; its key in {KEY_VARIABLE}")  # fmt: skip
    add("--upstream-port", type=int, default=0, help="for systems named by --also; 0: a free one")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=3.0, help="of each load")
    add("--quick", action="store_true", help="2 short rounds")
    add("--litellm-env", type=Path, default=_ROOT / ".bench-venv", help="where LiteLLM is kept")
    add("--json", type=Path, metavar="FILE")
    add("--markdown", type=Path, metavar="FILE")
    add("--plot", type=Path, metavar="FILE")
    return parser


def _running(text: str) -> System:
    """Read the value of `--also`."""
    name, equals, place = text.partition("=")
    url, _, model = place.partition("#")
    if not (name and equals and url.startswith("http://")):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=http://HOST:PORT/ROUTE#MODEL")
    return System(name, url, model or "bench", os.environ.get(KEY_VARIABLE))


def _cpu_seconds(system: System) -> float:
    if system.session is None:
        return 0.0
    return proc.cpu_seconds(processes.members(system.session))


def _about(rounds: int, seconds: float) -> dict[str, Any]:
    model = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
        "seconds": seconds,
        "chunks": _CHUNKS,
        "pace_seconds": _PACE,
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ray": metadata.version("ray"),
    }


def _say(text: str) -> None:
    """Show progress where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def _terminate(number: int, _frame: object) -> NoReturn:
    """Leave by the way that ends the children."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
