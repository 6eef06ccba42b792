"""The simulator as a child process, for tests and programs."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

READY = "simulator ready on "

_STOP_SECONDS = 5.0
_CALL_SECONDS = 10.0
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def environment(url: str) -> dict[str, str]:
    """Return the variables that send the providers' clients to the simulator at `url`."""
    return {
        "OPENAI_BASE_URL": f"{url}/openai/v1",
        "OPENAI_API_KEY": "sk-simulated",
        "AZURE_OPENAI_ENDPOINT": f"{url}/azure",
        "AZURE_OPENAI_API_KEY": "simulated",
        "ANTHROPIC_BASE_URL": f"{url}/anthropic",
        "ANTHROPIC_API_KEY": "sk-ant-simulated",
        "GOOGLE_GEMINI_BASE_URL": f"{url}/google",
        "GEMINI_API_KEY": "simulated",
        "HF_BASE_URL": f"{url}/huggingface/v1",
        "HF_TOKEN": "hf_simulated",
        "REPLICATE_BASE_URL": f"{url}/replicate",
        "REPLICATE_API_TOKEN": "r8_simulated",
    }


class SimulatorProcess:
    """A simulator on a free port, from entering until leaving the context."""

    def __init__(self, seed: int = 0) -> None:
        """Prepare; nothing is started yet."""
        self._seed = seed
        self._child: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        """Start the process and wait until it is ready."""
        command = [sys.executable, "-m", "compass_ray.simulator", "--port", "0"]
        command += ["--seed", str(self._seed)]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        lines = self._child.stdout
        line = lines.readline() if lines is not None else ""
        if not line.startswith(READY):
            self.stop()
            raise RuntimeError(f"the simulator did not start: it said {line!r}")
        self.url = line.removeprefix(READY).strip()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the process."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process's number; None when it is not running."""
        return None if self._child is None else self._child.pid

    def environment(self) -> dict[str, str]:
        """Return the variables that send the providers' clients here."""
        return environment(self.url)

    def script(self, script: Mapping[str, Any] | list[Any]) -> None:
        """Follow this script from now on.

        Raises:
            ValueError: the script cannot be followed; the message names the key.
        """
        try:
            self._call("POST", "script", script)
        except urllib.error.HTTPError as exc:
            with exc:
                raise ValueError(json.load(exc)["error"]) from exc

    def log(self) -> list[dict[str, Any]]:
        """Return what was served since the last reset, in the order of the requests.

        A request is in the log when it has ended, which for an abort is shortly after it.
        """
        entries: list[dict[str, Any]] = self._call("GET", "log")
        return entries

    def reset(self) -> None:
        """Forget log, script and all that was drawn: as just started."""
        self._call("POST", "reset")

    def stop(self) -> None:
        """End the process; a second call does nothing."""
        if self._child is None:
            return
        child, self._child = self._child, None
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

    def _call(self, method: str, name: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  # our own address
            f"{self.url}/_simulator/{name}",
            None if body is None else json.dumps(body).encode(),
            method=method,
        )
        with _NO_PROXY.open(request, timeout=_CALL_SECONDS) as answer:
            return json.load(answer)
