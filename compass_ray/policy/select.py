"""Which endpoints are tried for a request, in which order, and why. Pure.

Filter, score, order: every endpoint is a candidate or is excluded with one reason. A candidate's
score is the weighted sum of the five columns (see `policy.columns`); ties go to the lower
expected cost, then to the endpoint id, so the same question always has the same answer.

The gateway tries the candidates in order. The best is first; then the same model at other
providers (the document's fail-over layer 1); then the other models, best first, each with its own
siblings (layer 2). What an attempt may cost is bounded by the filter, not by the order. A caller
who asked for a tier gets that tier first and cheaper ones after it, none dearer. A pinned model
has only its own endpoints: pins win over tiers, not over money, needs or permissions.
"""

from collections.abc import Iterable
from math import inf
from typing import Any

from compass_ray.policy import columns
from compass_ray.policy.catalogue import Catalogue, Row
from compass_ray.policy.columns import Weights
from compass_ray.policy.filter import Conditions, Filter, dollars
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import UnknownModel
from compass_ray.types.routing import Candidate, Classification, Decision, Endpoint
from compass_ray.types.usage import MICRO

__all__ = ["AUTO", "Catalogue", "Conditions", "Weights", "explain", "select"]

AUTO = "auto"

Scored = tuple[float, float, str, Candidate]
"""Negated score, expected cost in pico-dollars, endpoint id (unique): sorts best first."""


def select(
    request: ChatRequest,
    classification: Classification,
    catalogue: Catalogue,
    conditions: Conditions,
    weights: Weights,
) -> Decision:
    """Return the candidates, best first, and why the others are out; both may be empty.

    Raises:
        UnknownModel: no endpoint goes by the name asked for.
    """
    filter_ = Filter(request, classification, conditions, _pinned(request, catalogue))
    excluded: list[tuple[str, str]] = []
    passed: list[Row] = []
    for row in catalogue.rows:
        reason = filter_.reason(row)
        if reason is None:
            passed.append(row)
        else:
            excluded.append((row.id, reason))
    scored = sorted(_score(request, classification, catalogue, passed, weights))
    return Decision(classification, tuple(_in_turn(request, scored)), tuple(excluded))


def explain(decision: Decision) -> dict[str, Any]:
    """Return the decision as JSON-ready values, for people to read."""
    seen = decision.classification
    return {
        "task_type": seen.task_type,
        "tier": int(seen.tier),
        "tier_name": seen.tier.name.lower(),
        "complexity": round(seen.complexity, 3),
        "scores": dict(seen.scores),
        "urgency": seen.urgency,
        "accuracy": seen.accuracy,
        "input_tokens": seen.input_tokens,
        "expected_output_tokens": seen.expected_output_tokens,
        "reasons": list(seen.reasons),
        "candidates": [_explained(candidate) for candidate in decision.candidates],
        "excluded": [{"endpoint": name, "reason": why} for name, why in decision.excluded],
    }


def _explained(candidate: Candidate) -> dict[str, Any]:
    cost = candidate.expected_cost
    return {
        "endpoint": candidate.endpoint.id,
        "tier": int(candidate.endpoint.tier),
        "score": round(candidate.score, 4),
        "columns": {name: round(value, 4) for name, value in candidate.columns.items()},
        "expected_cost": None if cost is None else dollars(cost),
    }


def _pinned(request: ChatRequest, catalogue: Catalogue) -> frozenset[str] | None:
    if request.model == AUTO:
        return None
    rows = catalogue.named(request.model)
    if not rows:
        raise UnknownModel(f"no endpoint serves the model {request.model!r}", param="model")
    return frozenset(row.id for row in rows)


def _score(
    request: ChatRequest,
    seen: Classification,
    catalogue: Catalogue,
    rows: list[Row],
    weights: Weights,
) -> Iterable[Scored]:
    fits = catalogue.complexity[seen.task_type, seen.tier]
    accuracies = catalogue.accuracy[seen.task_type, seen.accuracy]
    outputs = [min(seen.expected_output_tokens, row.endpoint.max_output_tokens) for row in rows]
    costs, waits = [], []
    for row, output in zip(rows, outputs, strict=True):
        costs.append(_expected_cost(request, seen, row.endpoint, output))
        waits.append(columns.seconds(row.endpoint, output, stream=request.stream))
    fastest = min(waits, default=0.0)
    limit = request.preferences.max_cost
    ceiling = _dearest(costs) if limit is None else limit * MICRO
    for row, output, cost, wait in zip(rows, outputs, costs, waits, strict=True):
        fit, accuracy = fits[row.place], accuracies[row.place]
        free = columns.tokens(seen.input_tokens + output, row.endpoint.context_window)
        speed = columns.latency(wait, fastest, seen.urgency)
        saving = columns.cost(cost, ceiling)
        score = (
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
        expected = None if cost == inf else -(-int(cost) // MICRO)
        yield -score, cost, row.id, Candidate(row.endpoint, score, values, expected)


def _expected_cost(
    request: ChatRequest, seen: Classification, endpoint: Endpoint, output_tokens: int
) -> float:
    """Return pico-dollars, infinite while the price is unknown."""
    price = endpoint.price
    if price is None:
        return inf
    return (
        seen.input_tokens * price.input
        + output_tokens * request.n * price.output
        + price.per_request * MICRO
    )


def _dearest(costs: list[float]) -> float:
    return max((cost for cost in costs if cost != inf), default=0)


def _in_turn(request: ChatRequest, scored: list[Scored]) -> list[Candidate]:
    """Put every model's endpoints behind its best one, and the tier asked for in front."""
    by_model: dict[str, list[Candidate]] = {}
    for _, _, _, candidate in scored:
        by_model.setdefault(candidate.endpoint.model, []).append(candidate)
    groups = list(by_model.values())
    asked = request.preferences.tier
    if asked is not None:
        groups.sort(key=lambda group: group[0].endpoint.tier is not asked)
    return [candidate for group in groups for candidate in group]
