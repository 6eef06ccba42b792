"""A Ray of one's own on this machine, with one Serve configuration on it, as a child process.

It shares nothing with another Ray of the machine: not the cluster, the ports, the folder nor the
processes. Everything it starts is in one session of processes, so everything can be ended.
"""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import yaml

from compass_ray import processes, serve_log
from compass_ray.serve_config import ServeConfig, without_inherited
from compass_ray.types.errors import CompassError, ConfigError

_FAST_INGRESS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "compass_ray.serving.unwatched.middlewares",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_worker_niceness": "0",
    "MALLOC_ARENA_MAX": "2",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
}
"""Defaults for a machine of one's own; the caller's environment wins."""

_FREE_PORTS = (
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
"""Serve has one fixed number for each, and does not start where another Serve has it."""

_UNASSIGNED_PORTS = range(20_000, 32_768)
"""Above Ray's own ranges, below Linux' ephemeral ports."""

_LONGEST_FOLDER = 28
"""A Unix socket's path has 108 bytes at most, and Ray and HAProxy add 79 to the folder."""

_POLL_SECONDS = 0.3
_DRAIN_SECONDS = 45.0
"""The 30 that a replica has for its open requests, and the end of Serve."""
_GRACE_SECONDS = 3.0
_LAST_LINES = 15
_PR_SET_PDEATHSIG = 1


class ClusterFailed(CompassError):
    """The cluster did not come up, or ended by itself; `log` holds the last lines it wrote."""

    blame = "operator"
    status = 503
    kind = "server_error"

    def __init__(self, message: str, log: str) -> None:
        """Say what happened and what the log said."""
        super().__init__(message)
        self.log = log


class LocalCluster:
    """`serve run` as a child. `end` must be called, also where `start` failed."""

    def __init__(
        self, config: ServeConfig, *, import_from: Path, settings: Mapping[str, str]
    ) -> None:
        """Prepare, and start nothing yet.

        Args:
            config: as `serve_config.read` returns it.
            import_from: folder from which import paths are resolved, before what is installed.
            settings: environment variables for all processes.

        Raises:
            ConfigError: the port is taken.
        """
        self._config = config
        self._import_from = import_from
        self._host: str = self._config["http_options"]["host"]
        self._port: int = self._config["http_options"]["port"]
        _require_free(self._host, self._port)
        self._settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="compass-", dir=_parent_folder()))
        self._address_file = self.folder / "ray_address"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        host = "127.0.0.1" if self._host in {"0.0.0.0", ""} else self._host  # noqa: S104  # compared
        return f"http://{host}:{self._port}"

    @property
    def joining(self) -> dict[str, str]:
        """Environment variables with which other Python processes of this user join this Ray.

        The token that it asks for lies in the user's home folder, where Ray puts and finds it.
        """
        mode = {**_FAST_INGRESS, **os.environ, **self._settings}["RAY_AUTH_MODE"]
        return {"RAY_ADDRESS": _text(self._address_file), "RAY_AUTH_MODE": mode}

    @property
    def log_file(self) -> Path:
        """What Ray, Serve and the replicas print."""
        return self.folder / "serve.log"

    def start(self) -> None:
        """Start the child and return at once."""
        environment = self._environment()
        config = self.folder / "serve_config.yaml"
        config.write_text(yaml.safe_dump(without_inherited(self._config, environment)))
        program = "compass_ray.serving.serve_run"
        command = [sys.executable, "-m", program, str(self._address_file), str(config)]
        with self.log_file.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603  # no foreign word in it
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # no thread runs yet
            )

    def wait_ready(self, timeout: float, progress: Callable[[str], None]) -> None:
        """Return when the gateway answers its health check; `progress` gets each new step.

        Raises:
            ClusterFailed: it ended, or did not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        step = ""
        with httpx.Client(base_url=self.url, timeout=1.0, trust_env=False) as client:
            while not _is_healthy(client):
                self._require_running()
                if reason := serve_log.failure(self._controller_log()):
                    raise ClusterFailed("the gateway could not be deployed", reason)
                if time.monotonic() > deadline:
                    raise ClusterFailed(f"not ready after {timeout:.0f} s", self._last_words())
                if step != (step := serve_log.step(_text(self.log_file))):
                    progress(step)
                time.sleep(_POLL_SECONDS)

    def wait(self) -> None:
        """Block while the cluster runs.

        Raises:
            ClusterFailed: it ended by itself.
        """
        while True:
            self._require_running()
            time.sleep(_POLL_SECONDS)

    def drain(self) -> None:
        """Let requests under way finish and the child end by itself, within bounded time."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_DRAIN_SECONDS)

    def end(self, *, keep_log: bool = False) -> None:
        """End every process that is left, and remove the folder."""
        if self._child is not None:
            processes.end(self._child.pid, _GRACE_SECONDS)
            self._child.wait()
        if not keep_log:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        return {
            **_FAST_INGRESS,
            **inherited,
            **self._settings,
            **{name: str(port) for name, port in zip(_FREE_PORTS, _free_ports(), strict=False)},
            "RAY_TMPDIR": folder,
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
            "PYTHONPATH": f"{self._import_from}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"),
            "PYTHONUNBUFFERED": "1",
        }

    def _require_running(self) -> None:
        """Raise ClusterFailed where the child has ended."""
        if self._child is None or self._child.poll() is not None:
            raise ClusterFailed("Ray Serve ended", self._last_words())

    def _last_words(self) -> str:
        return serve_log.tail(_text(self.log_file), _LAST_LINES)

    def _controller_log(self) -> str:
        logs = self.folder.glob("ray/session_latest/logs/serve/controller_*.log")
        return "\n".join(_text(log) for log in sorted(logs))


def _parent_folder() -> str:
    """Return the folder for temporary files, or /tmp where its path is too long for sockets."""
    folder = tempfile.gettempdir()
    return folder if len(f"{folder}/compass-12345678") <= _LONGEST_FOLDER else "/tmp"  # noqa: S108


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            owner = processes.listener(port)
            taken = f"port {port} is taken by {owner}" if owner else f"port {port}: {exc.strerror}"
            raise ConfigError(f"{taken}; choose another with --port") from exc


def _free_ports() -> Iterator[int]:
    """Yield ports that nobody listens on, and that the system gives to nobody who asks for any.

    Between finding one and using it, Ray opens dozens of such sockets.
    """
    for port in random.sample(_UNASSIGNED_PORTS, len(_UNASSIGNED_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            yield port


def _is_healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/api/v1/health").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
