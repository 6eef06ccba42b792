"""A head node that can be lost and started again: `ray start --head`, and Serve deployed on it."""

import subprocess
import sys
import time
from pathlib import Path

import yaml

from compass_ray import processes
from compass_ray.local_cluster import LocalCluster
from compass_ray.serve_config import without_inherited

from .world import free_port, kill, wait

_STARTS_WITHIN = 60.0
_RAY = (sys.executable, "-m", "ray.scripts.scripts")


class HeadCluster(LocalCluster):
    """Its head is a session of processes of its own; Ray's state is in the settings' Redis."""

    def start(self) -> None:
        """Start the head, and deploy."""
        self._command = [*_RAY, "start", "--head", "--block", "--port", str(free_port())]
        self._command += ["--num-cpus", "2", "--include-dashboard", "false"]
        self._surroundings = self._environment()
        self._run_head()
        (address,) = self.folder.rglob("ray_current_cluster")
        self._address_file.write_text(address.read_text())
        config = self.folder / "serve_config.yaml"
        config.write_text(yaml.safe_dump(without_inherited(self._config, self._surroundings)))
        subprocess.run(
            [sys.executable, "-m", "ray.serve.scripts", "run", "--non-blocking", str(config)],
            env={**self._surroundings, **self.joining},
            check=True,
            capture_output=True,
            timeout=90,
        )

    def lose_head(self) -> None:
        """End all processes of the head at once, as a power cut would, and start it again."""
        while pids := processes.members(self._child.pid):
            for pid in pids:
                kill(pid)
        self._child.wait()
        time.sleep(1.0)  # a supervisor's pause
        for address in self.folder.rglob("ray_current_cluster"):
            address.unlink()  # Ray takes the other nodes of this machine for a head that runs
        self._run_head()

    def _run_head(self) -> None:
        log = Path(self.folder, f"head-{time.monotonic_ns()}.log")
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._surroundings,
                start_new_session=True,
            )
        wait(lambda: "Ray runtime started" in log.read_text() or self._has_ended(), _STARTS_WITHIN)
        assert not self._has_ended(), log.read_text()

    def _has_ended(self) -> bool:
        return self._child.poll() is not None
