"""vLLM in this process: its engine, and vLLM's own OpenAI application in front of it.

The only module that imports vLLM, which lives in an environment of its own (see
docs/local-models.md): nothing here may be imported by the gateway. No exception of vLLM's leaves
it, because whoever receives one would need vLLM to unpickle it.
"""

import logging
import os
from argparse import Namespace
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from starlette.types import ASGIApp

from compass_ray.config.local_models import LocalModel
from compass_ray.types.errors import ConfigError

_PRIVATE = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
_ON_CPU = {
    # vLLM would bind its threads to all cores of a machine that others use as well.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_HOST_IP": "127.0.0.1",
}

_log = logging.getLogger("compass.vllm")


class EngineEnded(RuntimeError):
    """The engine's process is gone, or not able to answer any more."""


class VLLMEngine:
    """One running engine; `app` answers OpenAI's wire: chat, completions and embeddings."""

    def __init__(self, engine: Any, app: ASGIApp) -> None:
        self._engine = engine
        self.app = app

    @classmethod
    async def start(cls, model: LocalModel) -> "VLLMEngine":
        """Load the model; takes seconds to minutes, and blocks the event loop meanwhile.

        Raises:
            ConfigError: vLLM has no such option, or does not take its value.
            EngineEnded: the engine could not start.
        """
        _prepare(model)
        # Each needs seconds, and an environment that only such a process has.
        from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state  # noqa: PLC0415
        from vllm.entrypoints.launchers.app import build_app  # noqa: PLC0415
        from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

        options = _options(model)
        try:
            engine = AsyncLLM.from_engine_args(AsyncEngineArgs.from_cli_args(options))
            tasks = await engine.get_supported_tasks()
            app = build_app(options, tasks, engine.model_config)
            await init_app_state(engine, app.state, options, tasks)
        except Exception as exc:  # noqa: BLE001  # vLLM, torch and the hub raise anything
            _log.exception("model %r does not start", model.name)
            said = f"{type(exc).__name__}: {exc}"
            raise EngineEnded(f"model {model.name!r} does not start: {said}") from None
        # At an engine's death vLLM asks its own server to end; here Serve replaces the replica.
        app.state.server = SimpleNamespace()
        return cls(engine, app)

    async def check(self) -> None:
        """Raise EngineEnded where the engine cannot answer any more."""
        try:
            await self._engine.check_health()
        except Exception as exc:  # noqa: BLE001  # see the module's docstring
            raise EngineEnded(f"the engine has ended: {type(exc).__name__}") from None

    def close(self) -> None:
        """End the engine's processes."""
        self._engine.shutdown()


def _prepare(model: LocalModel) -> None:
    """Set what vLLM reads from the environment when it is imported; what is set there stands."""
    variables = dict(_PRIVATE)
    if not model.num_gpus:
        variables |= _ON_CPU
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(model.kv_cache_gib)
        if model.tensor_parallel == 1:  # without it, vLLM computes in one more process
            variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def _options(model: LocalModel) -> Namespace:
    """Return what vLLM's own command line would make of the model's settings."""
    from vllm.entrypoints.launchers.cli_args import (  # noqa: PLC0415
        make_arg_parser,
        validate_parsed_serve_args,
    )
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    options: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    for name, value in {**_chosen(model), **model.engine}.items():
        if not hasattr(options, name):
            raise ConfigError("vLLM has no such option", key=f"{model.name}.engine.{name}")
        setattr(options, name, value)
    try:
        validate_parsed_serve_args(options)
    except (TypeError, ValueError) as exc:
        raise ConfigError(str(exc), key=f"{model.name}.engine") from None
    return options


def _chosen(model: LocalModel) -> Mapping[str, Any]:
    from vllm.entrypoints.openai.models.protocol import LoRAModulePath  # noqa: PLC0415

    alone = model.tensor_parallel == 1
    chosen: dict[str, Any] = {
        "model": model.source,
        "served_model_name": [model.name],
        "tensor_parallel_size": model.tensor_parallel,
        "distributed_executor_backend": "uni" if alone else "mp",
        "disable_fastapi_docs": True,
    }
    if model.adapters:
        chosen["enable_lora"] = True
        chosen["lora_modules"] = [
            LoRAModulePath(name=name, path=path) for name, path in model.adapters.items()
        ]
    if model.tool_parser is not None:
        chosen["enable_auto_tool_choice"] = True
        chosen["tool_call_parser"] = model.tool_parser
    return chosen
