"""Which endpoints are tried for a request, in which order, and why. Pure.

Filter, score, order: every endpoint is a candidate or is excluded with one reason. A candidate's
score is the weighted sum of the five columns (see `policy.columns`); ties go to the lower
expected cost, then to the endpoint id, so the same question always has the same answer.

The gateway tries the candidates in order. The best is first; then the same model at other
providers (the document's fail-over layer 1); then the other models, best first, each with its own
siblings (layer 2). What an attempt may cost is bounded by the filter, not by the order. A caller
who asked for a tier gets that tier first and cheaper ones after it, none dearer. A pinned model
has only its own endpoints, and those of the fallbacks that its caller lists, in that order: pins
win over tiers, not over money, needs or permissions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any, NamedTuple, overload

import numpy as np

from compass_ray.policy import columns
from compass_ray.policy.catalogue import Catalogue, Mask
from compass_ray.policy.columns import Floats, Weights
from compass_ray.policy.filter import Conditions, Filter, starting
from compass_ray.policy.pricing import unpriced
from compass_ray.types.errors import InvalidRequest, UnknownModel
from compass_ray.types.requests import Request
from compass_ray.types.routing import (
    COLUMNS,
    Candidate,
    Classification,
    Decision,
    Endpoint,
    Exclusion,
    Expectation,
    Table,
    Tier,
)
from compass_ray.types.usage import MICRO

__all__ = ["AUTO", "Catalogue", "Conditions", "Weights", "explain", "select"]

AUTO = "auto"

_SLOWEST = 1e9
"""Seconds that nobody takes; finite, because a weight may be zero."""


def select(
    request: Request,
    classification: Classification,
    catalogue: Catalogue,
    conditions: Conditions,
    weights: Weights,
) -> Decision:
    """Return the endpoints that may serve the request, best first; there may be none.

    Raises:
        UnknownModel: no endpoint goes by a name asked for.
        InvalidRequest: a model does something else, or there are fallbacks for none; or spending is
            limited, and something is asked for that the price of tokens does not cover.
    """
    if conditions.remaining is not None or request.preferences.max_cost is not None:
        _refuse_unpriced(request)
    pinned = _pinned(request, catalogue)
    filter_ = Filter(request, classification, catalogue, conditions, pinned)
    scores = _score(request, classification, catalogue, filter_, weights)
    order = _Order(catalogue, filter_, scores, request)
    return Decision(
        classification, order, _Evidence(classification, catalogue, filter_, scores, order)
    )


def _refuse_unpriced(request: Request) -> None:
    field = unpriced(request)
    if field is not None:
        raise InvalidRequest(
            f"{field} asks for what the price of tokens does not cover, and spending is limited",
            param=field,
            code="unpriced",
        )


def explain(decision: Decision) -> dict[str, Any]:
    """Return the decision as JSON-ready values, for people to read."""
    evidence = decision.evidence
    return {
        **classified(decision),
        "candidates": candidates(evidence.table()),
        "excluded": [
            {"endpoint": one.endpoint_id, "reason": one.reason} for one in evidence.excluded()
        ],
    }


def classified(decision: Decision) -> dict[str, Any]:
    """Return a decision's classification, and the experiment it is part of, JSON-ready."""
    seen, arm = decision.classification, decision.arm
    return {
        "task_type": seen.task_type,
        "tier": int(seen.tier),
        "tier_name": seen.tier.name.lower(),
        "complexity": round(seen.complexity, 3),
        "scores": dict(seen.scores),
        "urgency": seen.urgency,
        "accuracy": seen.accuracy,
        "expectation": _foreseen(seen.expectation),
        "input_tokens": seen.input_tokens,
        "expected_output_tokens": seen.expected_output_tokens,
        "reasons": list(seen.reasons),
        "rules": seen.rules,
        "experiment": None if arm is None else {"name": arm.experiment, "arm": arm.name},
    }


def candidates(table: Table) -> list[dict[str, Any]]:
    """Return candidates as JSON-ready values, in the order they are tried."""
    return [
        {
            "endpoint": name,
            "tier": tier,
            "score": round(score, 4),
            "columns": dict(zip(COLUMNS, [round(value, 4) for value in columns], strict=True)),
            "expected_cost_micro_usd": None if isnan(cost) else round(cost),
            "expected_seconds": round(seconds, 3),
            "expected_quality": round(quality, 4),
        }
        for name, tier, (score, *columns, cost, seconds, quality) in zip(
            table.ids, table.tiers, table.scores.T.tolist(), strict=True
        )
    ]


def _foreseen(expectation: Expectation | None) -> dict[str, Any] | None:
    if expectation is None:
        return None
    return {
        "need": round(expectation.need, 4),
        "quality": {
            tier.name.lower(): round(quality, 4) for tier, quality in expectation.foreseen.items()
        },
        "surplus": {
            tier.name.lower(): round(value, 4) for tier, value in expectation.surplus.items()
        },
        "explored": expectation.explored,
        "field": expectation.field,
        "confidence": round(expectation.confidence, 4),
    }


def _pinned(request: Request, catalogue: Catalogue) -> Sequence[int] | None:
    if request.model == AUTO:
        if request.preferences.fallbacks:
            raise InvalidRequest(
                "compass.fallbacks are for a model that is named, not for auto",
                param="compass.fallbacks",
            )
        return None
    places = _named(request.model, "model", catalogue)
    for number, name in enumerate(request.preferences.fallbacks):
        places = [*places, *_named(name, f"compass.fallbacks[{number}]", catalogue)]
    return places


def _named(name: str, param: str, catalogue: Catalogue) -> list[int]:
    places = catalogue.named(name)
    if not places:
        other = catalogue.other(name)
        if other is not None:
            raise InvalidRequest(other, code="unsuitable_model", param=param)
        raise UnknownModel(f"no endpoint serves the model {name!r}", param=param)
    return places


class _Scores(NamedTuple):
    """Columns over the whole catalogue; those of an endpoint that is out mean nothing."""

    columns: dict[str, Floats]
    total: Floats
    costs: Floats
    """Expected, in pico-dollars; NaN while the price is unknown."""
    waits: Floats
    """Expected, in seconds."""


def _score(
    request: Request,
    seen: Classification,
    catalogue: Catalogue,
    filter_: Filter,
    weights: Weights,
) -> _Scores:
    passed = filter_.passed
    outputs = np.minimum(seen.expected_output_tokens, catalogue.max_outputs)
    waits = columns.seconds(catalogue.ttfts, catalogue.tpots, outputs, stream=request.stream)
    conditions = filter_.conditions
    pace = conditions.paces.get(seen.urgency)
    if pace is not None:
        waits = waits * pace
    if conditions.starts:
        for place, start in starting(catalogue, conditions.starts):
            waits[place] += min(start, _SLOWEST)
    costs = (
        seen.input_tokens * catalogue.input_prices
        + outputs * request.n * catalogue.output_prices
        + catalogue.per_request
    )
    limit = request.preferences.max_cost
    if limit is None:
        ceiling = np.fmax.reduce(costs, where=passed, initial=0.0)
    else:
        ceiling = float(limit) * MICRO
    fit = catalogue.complexity[seen.task_type, seen.tier]
    free = columns.tokens(seen.input_tokens + outputs, catalogue.context_windows)
    fastest = np.minimum.reduce(waits, where=passed, initial=_SLOWEST)
    speed = columns.latency(waits, fastest, seen.urgency)
    saving = columns.cost(costs, ceiling)
    accuracy = _accuracy(seen, catalogue)
    total = (
        weights.complexity * fit
        + weights.tokens * free
        + weights.latency * speed
        + weights.cost * saving
        + weights.accuracy * accuracy
    )
    values = {
        "complexity": fit,
        "tokens": free,
        "latency": speed,
        "cost": saving,
        "accuracy": accuracy,
    }
    return _Scores(values, total, costs, waits)


def _accuracy(seen: Classification, catalogue: Catalogue) -> Floats:
    if seen.expectation is None or seen.accuracy == "exploratory":
        return catalogue.accuracy[seen.task_type, seen.accuracy]
    return columns.expected_accuracy(
        seen.expectation.foreseen, catalogue.tiers, catalogue.ranks, seen.accuracy
    )


class _Order(Sequence[Endpoint]):
    """The endpoints that passed, best first; all but the best are put in order when asked for."""

    __slots__ = ("_able", "_catalogue", "_passed", "_places", "_request", "_scores")

    def __init__(
        self, catalogue: Catalogue, filter_: Filter, scores: _Scores, request: Request
    ) -> None:
        """Put the tier that was asked for in front, or the models in the order of their list."""
        self._catalogue = catalogue
        self._passed = filter_.passed
        self._scores = scores
        self._request = request
        self._places: list[int] | None = None
        needs_schema = request.needs and "json_schema" in request.needs
        self._able = catalogue.able["json_schema"] if needs_schema else None
        """Who can do by itself what the gateway would have to make good."""

    @property
    def places(self) -> list[int]:
        """Their places in the catalogue."""
        if self._places is None:
            ranked = _ranked(self._scores, self._catalogue, self._passed)
            wishes = self._request.preferences
            self._places = _in_turn(ranked, self._catalogue, wishes.tier)
            if self._able is not None:
                self._places.sort(key=(~self._able).tolist().__getitem__)
            if wishes.fallbacks:
                self._places = _as_listed(self._places, self._request, self._catalogue)
        return self._places

    def __len__(self) -> int:
        return int(np.count_nonzero(self._passed))

    @overload
    def __getitem__(self, at: int) -> Endpoint: ...
    @overload
    def __getitem__(self, at: slice) -> list[Endpoint]: ...
    def __getitem__(self, at: int | slice) -> Endpoint | list[Endpoint]:
        endpoints = self._catalogue.endpoints
        if isinstance(at, slice):
            return [endpoints[place] for place in self.places[at]]
        wishes = self._request.preferences
        by_score = wishes.tier is None and not wishes.fallbacks
        if at == 0 and by_score and (best := self._best()) is not None:
            return endpoints[best]
        return endpoints[self.places[at]]

    def __iter__(self) -> Iterator[Endpoint]:
        if self:
            yield self[0]
            yield from self[1:]

    def _best(self) -> int | None:
        """Return the place with the highest score; None where there is not exactly one.

        Not by numpy's argmax: it lets go of the interpreter's lock, and another thread may keep it
        for milliseconds.
        """
        passed = self._passed
        if self._able is not None and np.count_nonzero(able := passed & self._able):
            passed = able
        totals = np.where(passed, self._scores.total, -inf).tolist()
        most = max(totals, default=-inf)
        return totals.index(most) if most > -inf and totals.count(most) == 1 else None


def _ranked(scores: _Scores, catalogue: Catalogue, passed: Mask) -> list[int]:
    """Return the places that passed, best first; not by numpy's sorts, as `_best`."""
    costs = np.where(catalogue.priced, scores.costs, inf).tolist()
    keys = list(zip((-scores.total).tolist(), costs, strict=True))
    return sorted(np.flatnonzero(passed).tolist(), key=keys.__getitem__)


def _in_turn(places: list[int], catalogue: Catalogue, asked: Tier | None) -> list[int]:
    """Put every model's endpoints behind its best one, and the tier asked for in front."""
    by_model: dict[str, list[int]] = {}
    for place in places:
        by_model.setdefault(catalogue.models[place], []).append(place)
    groups = list(by_model.values())
    if asked is not None:
        groups.sort(key=lambda group: catalogue.endpoints[group[0]].tier is not asked)
    return [place for group in groups for place in group]


def _as_listed(order: list[int], request: Request, catalogue: Catalogue) -> list[int]:
    """Put the pinned model's endpoints first, and each fallback's in its turn."""
    turns: dict[int, int] = {}
    for turn, name in enumerate((request.model, *request.preferences.fallbacks)):
        for place in catalogue.named(name):
            turns.setdefault(place, turn)
    return sorted(order, key=turns.__getitem__)


@dataclass(frozen=True, slots=True)
class _Evidence:
    seen: Classification
    catalogue: Catalogue
    filter: Filter
    scores: _Scores
    order: _Order

    def candidates(self) -> tuple[Candidate, ...]:
        """Return the endpoints that may serve the request, in the order they are tried."""
        return tuple(self._candidate(place) for place in self.order.places)

    def table(self) -> Table:
        """Return what there is to say of the same endpoints as numbers, at little cost."""
        catalogue, scores, places = self.catalogue, self.scores, self.order.places
        costs = np.ceil(scores.costs / MICRO)
        rows = [scores.total, *scores.columns.values(), costs, scores.waits, self._quality()]
        return Table(
            [catalogue.ids[place] for place in places],
            [int(catalogue.endpoints[place].tier) for place in places],
            np.array(rows, np.float32)[:, places],
        )

    def excluded(self) -> tuple[Exclusion, ...]:
        """Return all others."""
        return tuple(self.filter.exclusions())

    def _quality(self) -> Floats:
        seen, catalogue = self.seen, self.catalogue
        if seen.expectation is None:
            return catalogue.accuracy[seen.task_type, "normal"]
        foreseen = seen.expectation.foreseen
        return columns.expected_accuracy(foreseen, catalogue.tiers, catalogue.ranks, "normal")

    def _candidate(self, place: int) -> Candidate:
        scores = self.scores
        cost = scores.costs[place]
        return Candidate(
            self.catalogue.endpoints[place],
            float(scores.total[place]),
            {name: float(column[place]) for name, column in scores.columns.items()},
            None if np.isnan(cost) else -(-int(cost) // MICRO),
        )
