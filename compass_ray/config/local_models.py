"""The shape of the local models' application: its models, as `args` of serve_config.yaml."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from compass_ray.config.fields import Count, FilePath, Name, Seconds, Section
from compass_ray.config.read import Reader
from compass_ray.config.sources import INLINE
from compass_ray.config.tree import Source, report
from compass_ray.config.validate import validate

_Replicas = Annotated[int, Field(ge=0, le=10_000)]
_OURS = frozenset({"model", "served_model_name", "tensor_parallel_size", "lora_modules"})
"""Options of vLLM that follow from other settings."""


class LocalModel(Section):
    """An open model, run by vLLM in replicas of its own."""

    name: Name
    """What it is called by: the `wire_model` of Compass's endpoints."""
    source: FilePath
    """A folder with the model, the same on every node, or its name at Hugging Face."""
    num_gpus: Annotated[float, Field(ge=0, le=64)] = 1
    """GPUs for each replica; 0 computes on the CPU."""
    num_cpus: Annotated[float, Field(ge=0, le=1024)] = 1
    """CPUs for each replica; on the CPU also its threads."""
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share one replica's computation; on GPUs, each has one of its own."""
    min_replicas: _Replicas = 0
    """Replicas that are always there; with 0 the model sleeps while nobody asks."""
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Most replicas, when many ask."""
    target_requests: Annotated[float, Field(gt=0, le=10_000)] = 16
    """Requests per replica above which there should be one replica more."""
    max_requests: Count = 256
    """Requests that one replica works on at once; more wait."""
    idle_s: Seconds = 300.0
    """Seconds without need after which a replica is ended."""
    start_s: Seconds = 120.0
    """Seconds that a replica is expected to need until it answers."""
    adapters: dict[Name, FilePath] = {}  # noqa: RUF012  # pydantic copies mutable defaults
    """LoRA adapters by the names they are called by, and the folder of each."""
    tool_parser: Name | None = None
    """What reads the model's tool calls, as vLLM calls it, such as `hermes` or `llama3_json`."""
    kv_cache_gib: Annotated[int, Field(ge=1, le=4096)] = 1
    """Memory for keys and values, on the CPU; on GPUs see vLLM's `gpu_memory_utilization`."""
    engine: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Any] = {}  # noqa: RUF012
    """Any other option of vLLM's server, by its name with underscores."""

    @property
    def called(self) -> tuple[str, ...]:
        """Every name that the replicas of this model answer to."""
        return self.name, *self.adapters

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas exceeds max_replicas")
        if self.tensor_parallel > 1 and 0 < self.num_gpus != self.tensor_parallel:
            raise ValueError("tensor_parallel needs as many num_gpus")
        if ours := sorted(_OURS & self.engine.keys()):
            raise ValueError(f"engine.{ours[0]} follows from the model's other settings")
        return self


class LocalModels(Section):
    """All that one application serves."""

    models: Annotated[list[LocalModel], Field(min_length=1)]
    """Each is a deployment of its own."""

    @model_validator(mode="after")
    def _have_names_of_their_own(self) -> Self:
        seen: set[str] = set()
        for name in _names(self.models):
            if name in seen:
                raise ValueError(f"the name {name!r} is given twice")
            seen.add(name)
        return self


def load_local_models(args: Mapping[str, Any], cwd: Path | None = None) -> tuple[LocalModel, ...]:
    """Return the models that `args` of serve_config.yaml describe.

    Raises:
        ConfigError: names the key of the first mistake, and lists all others.
    """
    reader = Reader(Source(0, INLINE, cwd or Path.cwd()))
    tree = reader.plain(args)
    found, problems = validate(tree, LocalModels)
    if found is None or problems or reader.problems:
        raise report([*reader.problems, *problems])
    return tuple(found.models)


def _names(models: list[LocalModel]) -> Iterator[str]:
    for model in models:
        yield from model.called
