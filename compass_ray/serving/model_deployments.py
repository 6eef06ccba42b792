"""Open models on vLLM as Serve deployments: one for each model, and the ingress before them all."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import DeploymentStatusOverview

from compass_ray import request_log
from compass_ray.config.local_models import LocalModel
from compass_ray.serving.asgi_exchange import Asked, Head, exchange
from compass_ray.serving.model_ingress import ModelIngress, State
from compass_ray.serving.vllm_engine import VLLMEngine

_log = logging.getLogger("compass.vllm")

_LOOK_SECONDS = 0.5


class ModelDeployment:
    """One replica of a model: an engine of vLLM's, whose processes end with it."""

    async def __init__(self, model: LocalModel) -> None:  # type: ignore[misc]  # Serve awaits it
        request_log.start()
        self._engine = await VLLMEngine.start(model)

    async def answer(self, asked: Asked) -> AsyncGenerator[Head | bytes, None]:
        """Yield what vLLM's own server answers."""
        async with aclosing(exchange(self._engine.app, asked)) as pieces:
            async for piece in pieces:
                yield piece

    async def check_health(self) -> None:
        """Fail where the engine has ended; Serve then replaces the replica."""
        await self._engine.check()

    def __del__(self) -> None:
        """End the engine, where one was started: Serve calls this when a replica is ended."""
        if engine := getattr(self, "_engine", None):
            engine.close()


@serve.ingress()
class ModelsIngressDeployment:
    """One replica of the ingress."""

    def __init__(
        self, models: Sequence[LocalModel], *handles: DeploymentHandle[ModelDeployment]
    ) -> None:
        request_log.start()
        self._models = models
        self._handles = handles

    def __serve_build_asgi_app__(self) -> ModelIngress:
        """Return the application that Serve runs."""
        names = [model.name for model in self._models]
        fleet = _Fleet(dict(zip(names, self._handles, strict=True)))
        return ModelIngress(self._models, fleet)


class _Fleet:
    """The models' deployments of the application that this process belongs to."""

    def __init__(self, handles: Mapping[str, DeploymentHandle[ModelDeployment]]) -> None:
        self._handles = {
            name: handle.options(method_name="answer", stream=True)
            for name, handle in handles.items()
        }
        self._states: Mapping[str, State] = dict.fromkeys(handles, "starting")
        self._following: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        self._following = asyncio.create_task(self._look_for_ever())

    async def leave(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    def states(self) -> Mapping[str, State]:
        return self._states

    async def ask(self, model: str, asked: Asked) -> AsyncGenerator[Head | bytes, None]:
        answer: Any = self._handles[model].remote(asked)
        try:
            async for piece in answer:
                yield piece
        finally:
            answer.cancel()  # nothing where it has ended

    async def _look_for_ever(self) -> None:
        application = serve.get_replica_context().app_name
        while True:
            try:
                status = await asyncio.to_thread(serve.status)
                deployments = status.applications[application].deployments
                self._states = {name: _state(deployments[name]) for name in self._handles}
            except Exception:  # noqa: BLE001  # the controller starts anew; its last word stands
                _log.warning("Serve does not tell its status", exc_info=True)
            await asyncio.sleep(_LOOK_SECONDS)


def _state(deployment: DeploymentStatusOverview) -> State:
    replicas: Any = deployment.replica_states  # its keys are the names, whatever its type says
    if "RUNNING" in replicas:
        return "ready"
    if "STARTING" in replicas:
        return "starting"
    return "failed" if deployment.status in {"DEPLOY_FAILED", "UNHEALTHY"} else "asleep"


def local_models_app(models: Sequence[LocalModel]) -> serve.Application:
    """Return an application with these models; it needs vLLM where their replicas run."""
    ingress = serve.deployment(
        name="ModelIngress",
        max_ongoing_requests=10_000,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=2,
        graceful_shutdown_wait_loop_s=0.2,
    )
    app: serve.Application = ingress(ModelsIngressDeployment).bind(
        models, *(_deployment(model) for model in models)
    )
    return app


def _deployment(model: LocalModel) -> serve.Application:
    options = serve.deployment(
        name=model.name,
        max_ongoing_requests=model.max_requests,
        ray_actor_options={"num_cpus": model.num_cpus, "num_gpus": model.num_gpus},
        autoscaling_config={
            "min_replicas": model.min_replicas,
            "max_replicas": model.max_replicas,
            "target_ongoing_requests": model.target_requests,
            "metrics_interval_s": 1,  # or a sleeping model is woken only after ten seconds
            "upscale_delay_s": 5,
            "downscale_delay_s": model.idle_s,
        },
        health_check_period_s=2,
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=30,
    )
    deployment: serve.Application = options(ModelDeployment).bind(model)
    return deployment
