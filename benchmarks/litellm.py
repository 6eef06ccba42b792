"""LiteLLM's proxy: one worker, as fast as its documentation makes it, in its own environment.

Settings follow https://docs.litellm.ai/docs/proxy/prod and /docs/proxy/server_tuning: one Uvicorn
worker (uvloop, aiohttp to the provider: its defaults), production mode, logs at ERROR, its Rust
core on as in its high-throughput profile. No database, no Redis, no callback: what those cost is
left out, in LiteLLM's favour. So is what these would cost where they are forgotten:

- httptools, with which Uvicorn parses HTTP in C;
- OpenTelemetry, part of LiteLLM's image but not of its `proxy` extra: without it each request
  tries the import again;
- bytecode compiled at installation, and a garbage collector that walks its large heap less often.

Its price list is the one in its package, so that it needs no network.
"""

from pathlib import Path

import yaml

from benchmarks.system import Child, System, answers, installed

VERSION = "1.106.2"
_REQUIREMENTS = (
    f"litellm[proxy]=={VERSION}",
    "opentelemetry-api==1.33.1",
    "opentelemetry-sdk==1.33.1",
    "opentelemetry-exporter-otlp==1.33.1",
    "httptools>=0.9",
)
_MODEL = "bench"
_KEY = "sk-bench-master-key"
_START_TIMEOUT = 120.0

_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_RUST": "1",
    "PYTHON_GC_THRESHOLD": "1000,50,50",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "NO_DOCS": "True",
    "DISABLE_ADMIN_UI": "True",
    "no_proxy": "127.0.0.1",
}


def install(folder: Path) -> Path:
    """Return a Python that has LiteLLM; install it in `folder` at the first call (750 MB).

    Raises:
        subprocess.CalledProcessError: the installation failed.
    """
    return installed(folder, _REQUIREMENTS)


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
