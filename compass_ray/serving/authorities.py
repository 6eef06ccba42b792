"""The Ray actors that own what must be true across replicas: found by name, or created.

They are detached, so they outlive a deployment, and restart by themselves. Whoever comes first
creates them; a name carries a digest of what the actor was built from, so that a changed
configuration gets fresh ones and the old are ended. What is durable keeps its name, and is told of
changes instead: the Ledger, the idempotency keys, the Learner, the workflows and the batches.
"""

import asyncio
import hashlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson
import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.context import _get_global_client as get_global_client
from ray.serve.exceptions import RayServeException
from ray.util import list_named_actors

from compass_ray import model_file, request_log
from compass_ray.actors.batches import BatchesActor
from compass_ray.actors.breaker import BreakerActor
from compass_ray.actors.handles import (
    BatchesHandle,
    BreakerHandle,
    HubHandle,
    IdempotencyHandle,
    LearnerHandle,
    LedgerHandle,
    ProviderHandle,
    WorkflowsHandle,
)
from compass_ray.actors.idempotency import IdempotencyActor
from compass_ray.actors.learner import LearnerActor
from compass_ray.actors.ledger import LedgerActor
from compass_ray.actors.metrics import MetricsHub
from compass_ray.actors.provider import ProviderActor, ProviderSettings
from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.serving.local_engine import LocalEngine
from compass_ray.serving.replica import Authorities, groups, learner_settings
from compass_ray.serving.unwatched import GATEWAY
from compass_ray.settings import Settings
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Told
from compass_ray.types.errors import CompassError, IdempotencyUnavailable
from compass_ray.types.settings import EngineSettings, ProviderSpec

_log = logging.getLogger("compass.engine")

_LONG_POLLS = 10_000
"""Calls that one asynchronous actor holds open at once."""

_LEDGER = "ledger"
_IDEMPOTENCY = "idempotency"
_LEARNER = "learner"
_WORKFLOWS = "workflows"
_BATCHES = "batches"
_HUB = "metrics"


async def connect(settings: Settings) -> Authorities:
    """Return handles to all authorities, creating those that are missing."""
    return await asyncio.to_thread(_connect, settings)


def namespace(settings: Settings) -> str:
    """Return the actors' namespace: one state folder, one Compass."""
    return f"compass:{settings.server.state_dir}"


def _connect(settings: Settings) -> Authorities:
    actors = _Actors(namespace(settings))
    accounts = dict(settings.accounts)
    ledger = actors.named(_LEDGER, LedgerActor, settings.server.state_dir / "ledger.db", accounts)
    ray.get(ledger.configure.remote(accounts, settings.alerts))
    keys_file = settings.server.state_dir / "idempotency.db"
    keys = actors.named(_IDEMPOTENCY, IdempotencyActor, keys_file, settings.idempotency)
    keys.configure.remote(settings.idempotency)
    learner = actors.named(_LEARNER, LearnerActor, settings.server.state_dir / "decisions.db")
    learner.configure.remote(learner_settings(settings))
    runs_file = settings.server.state_dir / "workflows.db"
    replicas = Replicas(serve.get_replica_context().app_name)
    workflows = actors.named(_WORKFLOWS, WorkflowsActor, runs_file, replicas)
    batches_file = settings.server.state_dir / "batches.db"
    folder = settings.server.state_dir / "files"
    batches = actors.named(_BATCHES, BatchesActor, batches_file, folder, replicas, settings.batches)
    batches.configure.remote(settings.batches)
    providers = {}
    for spec in settings.providers:
        engine_url = None
        if spec.engine is not None:
            engine_url = partial(
                _engine_url, actors.digested(f"engine-{spec.name}", Engine, spec.engine)
            )
        actor = actors.digested(f"provider-{spec.name}", ProviderActor, _provider(spec), engine_url)
        providers[spec.name] = ProviderHandle(actor)
    breaker = actors.digested("breaker", BreakerActor, settings.breaker, groups(settings))
    hub = actors.named(_HUB, MetricsHub)
    actors.end_others()
    return Authorities(
        LedgerHandle(ledger),
        BreakerHandle(breaker),
        providers,
        HubHandle(hub),
        IdempotencyHandle(keys),
        LearnerHandle(learner),
        WorkflowsHandle(workflows),
        BatchesHandle(batches),
    )


def digest(arguments: Sequence[Any]) -> str:
    """Return a short digest of values, the same in every process.

    The order of a set's members is each process's own, so that they are sorted.
    """
    told = orjson.dumps(arguments, default=_plain, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(told).hexdigest()[:12]


async def host() -> str:
    """Return the interface on which Serve's ingress listens."""
    # Serve's own replicas learn its HTTP options by this call; there is no public one.
    client: Any = get_global_client()
    options = await client._controller.get_http_config.remote()  # noqa: SLF001
    return options.host or "0.0.0.0"  # noqa: S104  # None means all interfaces


class Replicas:
    """The gateway's replicas, as workflows and batches call them: admission and budgets as ever."""

    def __init__(self, app_name: str) -> None:
        self._app_name = app_name

    async def answer(self, body: Mapping[str, Any], caller: Caller, key: str) -> Mapping[str, Any]:
        """Answer a chat-completions body once per key.

        Raises:
            IdempotencyUnavailable: the replica is gone, or there is none; ask again.
            CompassError
        """
        answer: Mapping[str, Any] = await self._call("step", body, caller, key)
        return answer

    async def ask(self, endpoint: str, body: bytes, caller: Caller, key: str) -> Told:
        """Answer a body of that endpoint once per key, or say what is wrong.

        Raises:
            IdempotencyUnavailable: as `answer`.
        """
        told: Told = await self._call("line", endpoint, body, caller, key)
        return told

    async def _call(self, method: str, *arguments: Any) -> Any:
        lost = IdempotencyUnavailable("no replica of the gateway has answered", retry_after=0.5)
        try:
            handle: Any = serve.get_deployment_handle(GATEWAY, self._app_name)
            response = getattr(handle, method).remote(*arguments)
        except (RayError, RayServeException):
            raise lost from None
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        except RayTaskError as error:
            if isinstance(error.cause, CompassError):
                raise error.cause from None
            raise
        except (RayError, RayServeException):
            raise lost from None


class Engine(LocalEngine):
    """The local engine as an actor: it fetches its model where none is configured."""

    def __init__(self, settings: EngineSettings) -> None:
        path = settings.model_path or model_file.fetch(_log.info)
        super().__init__(
            path,
            threads=settings.threads,
            context=settings.context,
            parallel=settings.parallel,
            alias=model_file.SMOLLM2.name if settings.model_path is None else path.stem,
        )


class _Actors:
    """Finds or creates the actors of one namespace, and remembers which are in use."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._in_use: set[str] = set()

    def named(self, name: str, cls: type, *arguments: Any) -> Any:
        """Return the actor of that name, created from `arguments` if there is none.

        It runs beside the head, where its files stay in reach when it restarts.
        """
        self._in_use.add(name)
        options: dict[str, Any] = {
            "name": name,
            "namespace": self._namespace,
            "lifetime": "detached",
            "get_if_exists": True,
            "max_restarts": -1,
            "num_cpus": 0,
            "resources": {"node:__internal_head__": 0.001},
        }
        if any(inspect.iscoroutinefunction(method) for method in vars(cls).values()):
            options["max_concurrency"] = _LONG_POLLS
        return ray.remote(_logged(cls)).options(**options).remote(*arguments)

    def digested(self, kind: str, cls: type, *arguments: Any) -> Any:
        """Return the actor of that kind that was built from just these arguments."""
        told = [argument for argument in arguments if not isinstance(argument, partial)]
        return self.named(f"{kind}-{digest(told)}", cls, *arguments)

    def end_others(self) -> None:
        """End the actors of an earlier configuration; replicas that use them go on alone."""
        for found in list_named_actors(all_namespaces=True):
            if found["namespace"] == self._namespace and found["name"] not in self._in_use:
                ray.kill(ray.get_actor(found["name"], namespace=self._namespace))


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _logged(cls: type) -> type:
    """Return `cls` with our log lines going to its process's stderr."""

    class Logged(cls):  # type: ignore[misc]  # the base is an argument
        def __init__(self, *arguments: Any) -> None:
            request_log.start()
            super().__init__(*arguments)

    Logged.__name__ = Logged.__qualname__ = cls.__name__
    return Logged


def _provider(spec: ProviderSpec) -> ProviderSettings:
    return ProviderSettings(
        spec.name,
        spec.kind,
        spec.base_url,
        spec.key_names,
        spec.base_url_names,
        spec.api_version,
        spec.api_version_names,
        spec.more_key_names,
    )


async def _engine_url(engine: Any) -> str | None:
    url: str = await engine.url.remote()
    return url
