"""The endpoints one can call for one task, tabulated once for many decisions. Pure.

A catalogue of n endpoints is a set of arrays of length n, in the order of the endpoints' ids:
a decision asks each question of all endpoints at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import inf, nan
from typing import NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy import columns
from compass_ray.policy.columns import Floats
from compass_ray.types.errors import ConfigError
from compass_ray.types.routing import Accuracy, Capability, ChatTask, Endpoint, TaskType, Tier
from compass_ray.types.usage import MICRO

Mask: TypeAlias = NDArray[np.bool_]

_TIERS = tuple(Tier)
_SHORTEST_SECONDS = 1e-3
"""Nobody answers faster; keeps the comparison of times finite."""


class UsualPrice(NamedTuple):
    """Pico-dollars per token."""

    input: float
    output: float


class Catalogue:
    """Arrays over the endpoints, and the places of a model, a provider or an id in them.

    One catalogue holds those that answer chats, another those that make embeddings: neither does
    the other's task, so that no decision can take the one for the other.

    `complexity` and `accuracy` hold one column for each class of requests. Prices are
    pico-dollars (NaN while unknown), times seconds. `smallest_window` (tokens) and
    `dearest_call` (pico-dollars, for one choice) bound what any endpoint can hold or cost.
    `tiers` are places in the order of `Tier`. `usual_prices` are the medians of a tier's endpoints,
    where their prices are known.

    Raises:
        ConfigError: two endpoints have the same id.
    """

    __slots__ = (
        *("_by_name", "_by_provider", "able", "accuracy", "complexity", "context_windows"),
        *("dearest_call", "dearest_inputs", "endpoints", "everyone", "ids", "input_prices"),
        *("max_outputs", "models", "output_prices", "per_request", "place", "priced", "ranks"),
        *("smallest_window", "tiers", "tpots", "ttfts", "usual_prices", "_others", "_without"),
    )

    def __init__(self, endpoints: Iterable[Endpoint], *, embeddings: bool = False) -> None:
        """Take the endpoints that make `embeddings`, or those that answer chats."""
        everybody = tuple(endpoints)
        able = [one for one in everybody if (one.embedding is not None) is embeddings]
        listed = tuple(sorted(able, key=lambda endpoint: endpoint.id))
        self.endpoints = listed
        self.ids = _ids(listed)
        self.models = tuple(endpoint.model for endpoint in listed)
        self.context_windows = _floats(endpoint.context_window for endpoint in listed)
        self.max_outputs = _floats(endpoint.max_output_tokens for endpoint in listed)
        self.ttfts = _floats(max(_SHORTEST_SECONDS, one.expected_ttft) for one in listed)
        self.tpots = _floats(endpoint.expected_tpot for endpoint in listed)
        self.tiers = np.array([_TIERS.index(one.tier) for one in listed], np.int64)
        self.ranks = _floats(columns.RANK[endpoint.tier] for endpoint in listed)
        prices = [endpoint.price for endpoint in listed]
        self.input_prices = _floats(nan if price is None else price.input for price in prices)
        self.dearest_inputs = _floats(
            nan if price is None else price.dearest_input for price in prices
        )
        self.output_prices = _floats(nan if price is None else price.output for price in prices)
        self.per_request = _floats(
            nan if price is None else price.per_request * MICRO for price in prices
        )
        self.priced = ~np.isnan(self.output_prices)
        self.usual_prices = dict(self._usual_prices())
        windows = () if embeddings else (one.context_window for one in listed)
        self.smallest_window = min(windows, default=inf)
        dearest_calls = (
            self.context_windows * self.dearest_inputs
            + self.max_outputs * self.output_prices
            + self.per_request
        )
        self.dearest_call = float(np.fmax.reduce(dearest_calls, initial=0.0))
        self.able: Mapping[Capability, Mask] = {
            name: np.array([name in endpoint.capabilities for endpoint in listed], np.bool_)
            for name in get_args(Capability)
        }
        tasks: tuple[TaskType, ...] = ("embedding",) if embeddings else get_args(ChatTask)
        self.complexity: Mapping[tuple[TaskType, Tier], Floats] = {
            (task, tier): _floats(columns.complexity(endpoint, task, tier) for endpoint in listed)
            for task in tasks
            for tier in Tier
        }
        self.accuracy: Mapping[tuple[TaskType, Accuracy], Floats] = {
            (task, degree): _floats(columns.accuracy(endpoint, task, degree) for endpoint in listed)
            for task in tasks
            for degree in get_args(Accuracy)
        }
        does = "answers chats, and makes no embeddings" if embeddings else "only makes embeddings"
        others = (one for one in everybody if (one.embedding is not None) is not embeddings)
        self._others = {name: f"{one.model!r} {does}" for one in others for name in _names(one)}
        self.place = {name: place for place, name in enumerate(self.ids)}
        self.everyone = np.ones(len(listed), np.bool_)
        self._without: tuple[Mapping[str, str] | None, Mask] = None, self.everyone
        self._by_name: dict[str, list[int]] = {}
        self._by_provider: dict[str, list[int]] = {}
        for place, endpoint in enumerate(listed):
            self._by_provider.setdefault(endpoint.provider, []).append(place)
            for name in _names(endpoint):
                self._by_name.setdefault(name, []).append(place)

    def _usual_prices(self) -> Iterator[tuple[Tier, UsualPrice]]:
        for number, tier in enumerate(_TIERS):
            some = self.priced & (self.tiers == number)
            if some.any():
                inputs, outputs = self.input_prices[some], self.output_prices[some]
                yield tier, UsualPrice(float(np.median(inputs)), float(np.median(outputs)))

    def named(self, name: str) -> list[int]:
        """Return the places of `model`, `provider/model` or `provider/model@region`."""
        return self._by_name.get(name.lower(), [])

    def other(self, name: str) -> str | None:
        """Return what a model that is not in here does instead; None where nobody knows it."""
        return self._others.get(name.lower())

    def without(self, unavailable: Mapping[str, str]) -> Mask:
        """Return all but the endpoints and providers named; the last answer is remembered."""
        if self._without[0] is not unavailable:
            left = self.everyone.copy()
            for name in unavailable:
                place = self.place.get(name)
                left[self.of_provider(name) if place is None else place] = False
            self._without = unavailable, left
        return self._without[1]

    def of_provider(self, name: str) -> list[int]:
        """Return the places of a provider's endpoints."""
        return self._by_provider.get(name, [])


def _ids(listed: Iterable[Endpoint]) -> tuple[str, ...]:
    """Return the ids of endpoints that are in the order of these."""
    ids = tuple(endpoint.id for endpoint in listed)
    for one, following in pairwise(ids):
        if one == following:
            raise ConfigError(f"endpoint {one!r} is listed twice")
    return ids


def _floats(values: Iterable[float]) -> Floats:
    return np.fromiter(values, np.float64)


def _names(endpoint: Endpoint) -> Iterator[str]:
    model, provider = endpoint.model.lower(), endpoint.provider.lower()
    yield from {model, f"{provider}/{model}", endpoint.id.lower()}
