"""More nodes of the cluster, all on this machine: each is a raylet and what it started."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from compass_ray import processes
from compass_ray.local_cluster import LocalCluster

from .world import World, kill, wait

_JOINS_WITHIN = 60.0
_ENDS_WITHIN = 30.0


class Node:
    """A worker node, a session of processes of its own; `end` must be called."""

    def __init__(self, cluster: LocalCluster) -> None:
        environment = {**cluster._environment(), **cluster.joining}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--address", environment.pop("RAY_ADDRESS"), "--num-cpus", "1"]
        self._log = Path(cluster.folder, f"node-{os.urandom(4).hex()}.log")
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        wait(self._has_joined, _JOINS_WITHIN)

    @property
    def session(self) -> int:
        """Return the session of its processes."""
        return self._child.pid

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        while pids := processes.members(self.session):
            for pid in pids:
                kill(pid)
        self._child.wait()

    def kill_raylet(self) -> None:
        """End its raylet alone; return once the others have seen that it is gone, and ended."""
        for pid in processes.members(self.session):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet":
                kill(pid)
        wait(lambda: not processes.members(self.session), _ENDS_WITHIN)

    def _has_joined(self) -> bool:
        assert self._child.poll() is None, self._log.read_text()
        return "Ray runtime started" in self._log.read_text()


class Nodes:
    """The worker nodes of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nodes: list[Node] = []

    @property
    def first(self) -> Node:
        """Return the one that joined before the others."""
        return self._nodes[0]

    def add(self) -> None:
        """Start one, and return once it has joined."""
        node = Node(self._world.cluster)
        self._nodes.append(node)
        self._world.sessions.append(node.session)

    def replace_first(self) -> None:
        """Start another in place of the first, of which nothing is left then."""
        lost = self._nodes.pop(0)
        lost.kill()
        self._world.sessions.remove(lost.session)
        self.add()

    def end(self) -> None:
        """End all of them."""
        for node in self._nodes:
            node.kill()


@contextlib.contextmanager
def joined(world: World, count: int) -> Iterator[Nodes]:
    """Let so many nodes join one after the other; yield them once every replica runs."""
    nodes = Nodes(world)
    try:
        for _ in range(count):
            nodes.add()
        world.wait_whole()
        yield nodes
    finally:
        nodes.end()
