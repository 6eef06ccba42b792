"""LiteLLM's proxy: one worker, set up as its production guide asks, in an environment of its own.

Settings follow https://docs.litellm.ai/docs/proxy/prod and /docs/proxy/server_tuning: one Uvicorn
worker (uvloop, aiohttp to the provider: its defaults), production mode, logs at ERROR, its Rust
core switched on as in its high-throughput profile. No database, no Redis, no callback: what those
cost is left out, in LiteLLM's favour. Its price list is the one in its package: no network.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from benchmarks.system import Child, System, answers

VERSION = "1.106.2"
_MODEL = "bench"
_KEY = "sk-bench-master-key"
_START_TIMEOUT = 120.0

_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_RUST": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "NO_DOCS": "True",
    "DISABLE_ADMIN_UI": "True",
    "no_proxy": "127.0.0.1",
}


def install(folder: Path) -> Path:
    """Return a Python that has LiteLLM; install it in `folder` at the first call (250 MB).

    Raises:
        subprocess.CalledProcessError: the installation failed.
    """
    python = folder / "bin" / "python"
    if _installed(python) != VERSION:
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
        package = f"litellm[proxy]=={VERSION}"
        subprocess.run([uv, "pip", "install", "--python", str(python), package], check=True)
    return python


def start(python: Path, upstream: str, port: int, folder: Path) -> tuple[Child, System]:
    """Start the proxy before the provider at `upstream`; `folder` takes its configuration and log.

    Raises:
        NotReady: it did not come up.
    """
    config = folder / "litellm.yaml"
    config.write_text(yaml.safe_dump(_config(upstream)))
    command = [str(python.with_name("litellm")), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    child = Child(command, folder / "litellm.log", _ENVIRONMENT)
    base = f"http://127.0.0.1:{port}"
    try:
        child.wait_for(lambda: answers(f"{base}/health/readiness"), _START_TIMEOUT)
    except BaseException:
        child.stop()
        raise
    return child, System(
        name="litellm",
        url=f"{base}/v1/chat/completions",
        model=_MODEL,
        key=_KEY,
        session=child.session,
        worker=child.session,
        about={"version": VERSION},
    )


def _config(upstream: str) -> dict[str, object]:
    provider = {"model": "openai/gpt-4o", "api_base": f"{upstream}/v1", "api_key": "unused"}
    return {
        "model_list": [{"model_name": _MODEL, "litellm_params": provider}],
        "litellm_settings": {"set_verbose": False, "json_logs": True, "request_timeout": 600},
        "general_settings": {"master_key": _KEY, "disable_error_logs": True},
    }


def _installed(python: Path) -> str:
    """Return the version that `python` has; "" where it has none."""
    if not python.exists():
        return ""
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip()
