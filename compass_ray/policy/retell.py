"""A decision as it is recorded: put into words, and read again. Pure.

The candidates' numbers are kept apart from the words, as 32-bit floats: that is a third of the
size, and a fifth of the work.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from compass_ray.policy.select import candidates, classified
from compass_ray.types.events import Assessment, Record
from compass_ray.types.requests import Request
from compass_ray.types.routing import SCORES, Decision, Endpoint, Table


def told(
    request: Request,
    decision: Decision,
    table: Table,
    record: Record,
    endpoint: Endpoint | None,
) -> dict[str, Any]:
    """Return a decision and its outcome as JSON-ready values, without the candidates' numbers.

    `endpoint` is the one that answered.
    """
    asked = request.preferences.tier
    excluded: defaultdict[str, list[str]] = defaultdict(list)
    for one in decision.evidence.excluded():
        excluded[one.reason].append(one.endpoint_id)
    return {
        "model": request.model,
        "asked_tier": None if asked is None else int(asked),
        "stream": record.stream,
        **classified(decision),
        "candidates": table.ids,
        "tiers": table.tiers,
        "excluded": excluded,
        "outcome": {
            "endpoint": None if endpoint is None else endpoint.id,
            "status": record.status,
            "attempts": [{"endpoint": one.endpoint, "error": one.error} for one in record.attempts],
            "cost_micro_usd": record.cost,
            "seconds": round(record.seconds, 4),
            "ttft": None if record.ttft is None else round(record.ttft, 4),
            "assessments": assessed(record.assessments),
        },
    }


def table_of(words: Mapping[str, Any], scores: bytes) -> Table:
    """Return the candidates' numbers again."""
    values = np.frombuffer(scores, np.float32).reshape(len(SCORES), -1)
    return Table(words["candidates"], words["tiers"], values)


def retold(words: Mapping[str, Any], scores: bytes) -> dict[str, Any]:
    """Return a recorded decision as `explain` would have said it, and its outcome."""
    said = {name: value for name, value in words.items() if name != "tiers"}
    said["candidates"] = candidates(table_of(words, scores))
    said["excluded"] = [
        {"endpoint": name, "reason": reason}
        for reason, names in words["excluded"].items()
        for name in names
    ]
    return said


def assessed(assessments: Iterable[Assessment]) -> list[dict[str, Any]]:
    """Return what was found out about answers before one was told, JSON-ready."""
    return [
        {
            "endpoint": one.endpoint,
            "tier": one.tier,
            "score": one.evaluation.score,
            "reasons": list(one.evaluation.reasons),
            "outcome": one.outcome,
            "why": one.why,
        }
        for one in assessments
    ]
