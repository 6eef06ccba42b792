"""What each loss costs: `python -m tests.chaos.availability` measures the table in docs.

Twenty callers ask without pause while one process is killed (`kill -9`). Told are the requests
that failed, from the first to the last failure, the longest wait of any answer, and when the
process was back. With `--redis` Ray keeps its state in a Redis of its own, and a killed GCS is
started again as a supervisor would, after which a replica is killed: it is back when that one
has been replaced. With `--nodes` there are two worker nodes beside the head, one replica on each
of the three; one is killed, and started again as a supervisor would. With `--head` it is the head
that is, beside such nodes and with Ray's state in a Redis.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import httpx

from compass_ray import processes
from compass_ray.local_cluster import LocalCluster
from compass_ray.storage.audit import audit

from .evidence import come_to_rest
from .head import HeadCluster
from .load import CHAT
from .nodes import Nodes, joined
from .world import REPLICA, REPLICAS, World, free_port, running

VICTIMS = {
    "replica": f"ray::{REPLICA}",
    "Ledger": "ray::LedgerActor",
    "Breaker": "ray::BreakerActor",
    "Provider": "ray::ProviderActor",
    "Metrics hub": "ray::MetricsHub",
    "HAProxy": "haproxy",
    "Serve's proxy actor": "ray::HAProxyManager",
    "Serve's controller": "ray::ServeController",
    "GCS": "gcs_server",
}
_BEFORE, _AFTER = 2.0, 15.0
_CALLERS = 20
_BODY = {"model": "sim", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 5}


@dataclass
class Effect:
    """What the callers noticed."""

    answered: int = 0
    failed: Counter = field(default_factory=Counter)
    failed_at: list[float] = field(default_factory=list)
    longest: float = 0.0
    back_after: float | None = None
    mistakes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a row of the table, without its first column."""
        span = self.failed_at[-1] - self.failed_at[0] if self.failed_at else 0.0
        back = "-" if self.back_after is None else f"{self.back_after:.1f} s"
        errors = ", ".join(f"{count} x {name}" for name, count in self.failed.items()) or "0"
        books = "; ".join(self.mistakes) or "add up"
        return (
            f"{self.answered} | {errors} | {span:.1f} s | {self.longest:.1f} s | {back} | {books}"
        )


Strike = Callable[[], Callable[[], bool]]
"""Kills something; returns what tells whether it, or its like, is at work again."""


async def measure(world: World, strike: Strike, *, after: float) -> Effect:
    """Strike under load, and watch for `after` seconds."""
    effect, stop = Effect(), asyncio.Event()
    headers = {"authorization": f"Bearer {world.keys['red']}"}
    patience = aiohttp.ClientTimeout(40)

    async def caller(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                async with session.post(CHAT, json=_BODY) as answer:
                    await answer.read()
                    error = "" if answer.status == 200 else str(answer.status)
            except (aiohttp.ClientError, OSError, TimeoutError) as exc:
                error = type(exc).__name__
                await asyncio.sleep(0.05)  # do not turn on a closed port
            effect.longest = max(effect.longest, time.monotonic() - began)
            if error:
                effect.failed[error] += 1
                effect.failed_at.append(time.monotonic())
            else:
                effect.answered += 1

    async with aiohttp.ClientSession(world.url, headers=headers, timeout=patience) as session:
        tasks = [asyncio.create_task(caller(session)) for _ in range(_CALLERS)]
        await asyncio.sleep(_BEFORE)
        killed_at = time.monotonic()
        back = await asyncio.to_thread(strike)
        while time.monotonic() < killed_at + after:
            if effect.back_after is None and back():
                effect.back_after = time.monotonic() - killed_at
            await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*tasks)
    await asyncio.to_thread(come_to_rest, world)
    effect.mistakes = audit(world.ledger_file).mistakes
    return effect


class Supervisor:
    """Starts again what was killed, as systemd or Kubernetes would, and ends it at last."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []

    def remember(self, pid: int, gcs_port: str) -> Callable[[], None]:
        """Return what starts the same process again, at the port where others look for it."""
        process = Path(f"/proc/{pid}")
        words = (process / "cmdline").read_text().split("\0")[:-1]
        option = "--gcs_server_port="
        command = [option + gcs_port if word.startswith(option) else word for word in words]
        pairs = (process / "environ").read_text().split("\0")
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        folder = (process / "cwd").readlink()

        def start() -> None:
            self._children.append(subprocess.Popen(command, env=environment, cwd=folder))

        return start

    def end(self) -> None:
        """End what was started."""
        for child in self._children:
            child.kill()
            child.wait()


def kill(world: World, title: str, supervisor: Supervisor | None) -> Callable[[], bool]:
    """Kill one such process; return what tells whether it, or its like, is at work again."""
    before = found(world, title)
    victim = min(before)
    if supervisor is None:
        os.kill(victim, signal.SIGKILL)
        return lambda: len(found(world, title) - {victim}) >= len(before)
    port = world.cluster.joining["RAY_ADDRESS"].rpartition(":")[2]
    start = supervisor.remember(victim, port)
    os.kill(victim, signal.SIGKILL)
    time.sleep(1.0)  # a supervisor's pause
    start()
    dead = world.kill(REPLICA)  # that it is replaced shows that the GCS is at work again
    return lambda: len(world.processes(REPLICA).keys() - {dead}) == REPLICAS


def lose(world: World, nodes: Nodes, how: Callable[[], None]) -> Callable[[], bool]:
    """Do that to one of the nodes and start another; return what tells whether all is whole."""
    how()
    nodes.replace_first()
    return lambda: len(world.processes(REPLICA)) == REPLICAS


def lose_head(world: World) -> Callable[[], bool]:
    """Lose the head and start it again; return what tells whether all is whole and answers."""
    world.cluster.lose_head()
    world.sessions[0] = world.cluster._child.pid
    return lambda: len(world.processes(REPLICA)) == REPLICAS and _answers(world)


def _answers(world: World) -> bool:
    try:
        return httpx.get(f"{world.url}/api/v1/health", timeout=1.0).is_success
    except httpx.HTTPError:
        return False


def found(world: World, title: str) -> set[int]:
    """Return the processes of the head whose command begins, or whose program ends, so."""
    return {pid for pid in processes.members(world.sessions[0]) if _is(pid, title)}


def _is(pid: int, title: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return words[0].startswith(title) or words[0].rpartition("/")[2] == title


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis that keeps what it is told; yield its address."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "yes", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            time.sleep(0.5)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def main() -> None:
    """Measure every victim, each on a fresh cluster where it takes the others with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", action="store_true", help="GCS on Redis; only the GCS is killed")
    parser.add_argument("--nodes", action="store_true", help="only worker nodes are killed")
    parser.add_argument("--head", action="store_true", help="GCS on Redis; the head is killed")
    parser.add_argument("--only", choices=VICTIMS, help="one victim")
    parser.add_argument("--after", type=float, default=_AFTER, help="seconds to watch")
    told = parser.parse_args()
    if (told.redis or told.head) and shutil.which("redis-server") is None:
        sys.exit("redis-server is not installed")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="availability-")))
        settings, supervisor = {}, None
        if told.redis:
            supervisor = Supervisor()
            stack.callback(supervisor.end)
        if told.redis or told.head:
            settings["RAY_REDIS_ADDRESS"] = stack.enter_context(redis(folder))
        world = stack.enter_context(
            running(
                folder / "state",
                1,
                settings=settings,
                whole=not (told.nodes or told.head),
                cluster_class=HeadCluster if told.head else LocalCluster,
            )
        )
        strikes: dict[str, Strike]
        if told.head:
            stack.enter_context(joined(world, 2))
            strikes = {"head": partial(lose_head, world)}
        elif told.nodes:
            nodes = stack.enter_context(joined(world, 2))
            strikes = {
                "worker node": lambda: lose(world, nodes, nodes.first.kill),
                "its raylet": lambda: lose(world, nodes, nodes.first.kill_raylet),
            }
        else:
            names = [told.only] if told.only else (["GCS"] if told.redis else VICTIMS)
            strikes = {name: partial(kill, world, VICTIMS[name], supervisor) for name in names}
        print("killed | answered | failed | failing for | longest wait | back after | books")
        for name, strike in strikes.items():
            effect = asyncio.run(measure(world, strike, after=told.after))
            print(f"{name} | {effect}", flush=True)
            if effect.back_after is None:
                break  # the next would be measured on ruins


if __name__ == "__main__":
    main()
