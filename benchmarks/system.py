"""A system under test, and the processes that were started for it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from compass_ray import processes

_ROOT = Path(__file__).resolve().parent.parent
_LEFT_OUT = frozenset({"PYTHONDONTWRITEBYTECODE"})


class NotReady(Exception):
    """A system did not come up; carries the end of its log."""


@dataclass(frozen=True, slots=True)
class System:
    """How to call a system and where to find its processes.

    `url` is its chat-completions route. `session` is the session of its processes, and `worker`
    the process that handles requests; both are None where it was started by someone else.
    """

    name: str
    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    session: int | None = None
    worker: int | None = None
    about: Mapping[str, str] = field(default_factory=dict)


class Child:
    """A process in a session of its own. `stop` ends it and everything it started."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(env),
                start_new_session=True,
            )

    @property
    def session(self) -> int:
        """The number of the session: that of its first process."""
        return self._process.pid

    def wait_for(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return when `ready` says so.

        Raises:
            NotReady: it did not within `timeout` seconds, or the process ended.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotReady(self.last_words())
            time.sleep(0.2)

    def last_words(self) -> str:
        """Return the end of what it printed."""
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """End every process of the session."""
        processes.end(self.session, grace=5.0)
        self._process.wait()


def start_upstream(port: int, folder: Path, stack: ExitStack) -> tuple[int, str]:
    """Return the session and the address of the provider, which `stack` stops."""
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)]
    child = Child(command, folder / "upstream.log", {"PYTHONPATH": str(_ROOT)})
    stack.callback(child.stop)
    url = f"http://127.0.0.1:{port}"
    child.wait_for(lambda: answers(f"{url}/v1/models"), timeout=20.0)
    return child.session, url


def installed(folder: Path, requirements: Sequence[str]) -> Path:
    """Return a Python that has these packages; they are installed in `folder` at the first call.

    Raises:
        subprocess.CalledProcessError: the installation failed.
    """
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if not done.exists() or done.read_text() != wanted:
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
        command = [uv, "pip", "install", "--compile-bytecode", "--python", str(python)]
        subprocess.run([*command, *requirements], check=True)
        done.write_text(wanted)
    return python


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: this one's, with `settings`.

    A developer's PYTHONDONTWRITEBYTECODE is left out: it would make a system that imports lazily
    compile while it serves.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return {**inherited, **settings}


def answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    """Return whether a GET of `url` succeeds."""
    try:
        response = httpx.get(url, headers=headers, timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return response.is_success


def free_port() -> int:
    """Return a TCP port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
