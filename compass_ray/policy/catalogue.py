"""The endpoints one can call, indexed once for many decisions. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from compass_ray.policy import columns
from compass_ray.types.errors import ConfigError
from compass_ray.types.routing import Accuracy, Endpoint, TaskType, Tier


@dataclass(frozen=True, slots=True)
class Row:
    """An endpoint, its id, and what of its scores depends on a request's class alone."""

    endpoint: Endpoint
    id: str
    complexity: Mapping[tuple[TaskType, Tier], float]
    accuracy: Mapping[tuple[TaskType, Accuracy], float]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All endpoints, in the order of their ids, and the names they go by.

    Raises:
        ConfigError: two endpoints have the same id.
    """

    endpoints: Iterable[Endpoint]
    rows: tuple[Row, ...] = field(init=False, repr=False)
    _by_name: Mapping[str, tuple[Row, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = tuple(sorted(map(_row, self.endpoints), key=lambda row: row.id))
        by_name: dict[str, tuple[Row, ...]] = {}
        for row, following in zip(rows, (*rows[1:], None), strict=True):
            if following is not None and row.id == following.id:
                raise ConfigError(f"endpoint {row.id!r} is listed twice")
            for name in _names(row.endpoint):
                by_name[name] = (*by_name.get(name, ()), row)
        object.__setattr__(self, "endpoints", tuple(row.endpoint for row in rows))
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "_by_name", by_name)

    def named(self, name: str) -> tuple[Row, ...]:
        """Return the rows of `model`, `provider/model` or `provider/model@region`."""
        return self._by_name.get(name.lower(), ())


def _row(endpoint: Endpoint) -> Row:
    tasks: tuple[TaskType, ...] = get_args(TaskType)
    wanted: tuple[Accuracy, ...] = get_args(Accuracy)
    return Row(
        endpoint=endpoint,
        id=endpoint.id,
        complexity={
            (task, tier): columns.complexity(endpoint, task, tier)
            for task in tasks
            for tier in Tier
        },
        accuracy={
            (task, degree): columns.accuracy(endpoint, task, degree)
            for task in tasks
            for degree in wanted
        },
    )


def _names(endpoint: Endpoint) -> set[str]:
    model, provider = endpoint.model.lower(), endpoint.provider.lower()
    return {model, f"{provider}/{model}", endpoint.id.lower()}
