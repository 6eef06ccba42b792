"""The endpoints one can call, indexed once for many decisions. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import get_args

from compass_ray.policy import columns
from compass_ray.types.errors import ConfigError
from compass_ray.types.routing import Accuracy, Endpoint, TaskType, Tier

_TASKS: tuple[TaskType, ...] = get_args(TaskType)
_ACCURACIES: tuple[Accuracy, ...] = get_args(Accuracy)


@dataclass(frozen=True, slots=True)
class Row:
    """An endpoint, its id, and its place in the catalogue's tables."""

    endpoint: Endpoint
    id: str
    place: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All endpoints in the order of their ids, the names they go by, and two tabulated columns.

    `complexity` and `accuracy` hold one value a row for each class of requests.

    Raises:
        ConfigError: two endpoints have the same id.
    """

    endpoints: Iterable[Endpoint]
    rows: tuple[Row, ...] = field(init=False, repr=False)
    complexity: Mapping[tuple[TaskType, Tier], tuple[float, ...]] = field(init=False, repr=False)
    accuracy: Mapping[tuple[TaskType, Accuracy], tuple[float, ...]] = field(init=False, repr=False)
    _by_name: Mapping[str, tuple[Row, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        endpoints = tuple(sorted(self.endpoints, key=lambda endpoint: endpoint.id))
        rows = tuple(Row(endpoint, endpoint.id, n) for n, endpoint in enumerate(endpoints))
        for row, following in pairwise(rows):
            if row.id == following.id:
                raise ConfigError(f"endpoint {row.id!r} is listed twice")
        by_name: dict[str, tuple[Row, ...]] = {}
        for row in rows:
            for name in _names(row.endpoint):
                by_name[name] = (*by_name.get(name, ()), row)
        complexity = {
            (task, tier): tuple(columns.complexity(endpoint, task, tier) for endpoint in endpoints)
            for task in _TASKS
            for tier in Tier
        }
        accuracy = {
            (task, degree): tuple(
                columns.accuracy(endpoint, task, degree) for endpoint in endpoints
            )
            for task in _TASKS
            for degree in _ACCURACIES
        }
        object.__setattr__(self, "endpoints", endpoints)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "complexity", complexity)
        object.__setattr__(self, "accuracy", accuracy)
        object.__setattr__(self, "_by_name", by_name)

    def named(self, name: str) -> tuple[Row, ...]:
        """Return the rows of `model`, `provider/model` or `provider/model@region`."""
        return self._by_name.get(name.lower(), ())


def _names(endpoint: Endpoint) -> set[str]:
    model, provider = endpoint.model.lower(), endpoint.provider.lower()
    return {model, f"{provider}/{model}", endpoint.id.lower()}
