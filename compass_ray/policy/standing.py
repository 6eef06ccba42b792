"""Where a run stands, in the words of callers and webhooks. Pure."""

from collections.abc import Iterable

from compass_ray.types.run_analytics import Analysis, AnalysisQuery
from compass_ray.types.usage import Money
from compass_ray.types.workflows import Event, Failed, Finished, Summary


def as_json(one: Summary) -> dict[str, object]:
    """Return where a run stands; money in micro-dollars, times in Unix seconds."""
    end = one.end
    told: dict[str, object] = {
        f"{one.kind}_id": one.id,
        "status": one.status,
        "name": one.name,
        "created_at": one.created_at,
        "deadline_at": one.deadline_at,
        "ended_at": None if end is None else end.at,
        "calls": one.calls,
        "cost_micro_usd": one.cost,
        "budget_micro_usd": one.budget,
        "remaining_micro_usd": None if one.budget is None else one.budget - one.cost,
        "streaming_url": f"/api/v1/{one.kind}s/{one.id}/stream",
        "result": None,
        "error": None,
    }
    if end is not None and end.status == "completed":
        told["result"] = end.text
        told["confidence"] = end.confidence
        told["alternatives"] = list(end.alternatives)
    elif end is not None and end.status == "failed":
        told["error"] = {"step": end.step, "code": end.code, "message": end.message}
    if one.webhook is not None:
        told["webhook"] = one.webhook._asdict()
    return told


def analysis_as_json(query: AnalysisQuery, found: Analysis) -> dict[str, object]:
    """Return what runs that are over came to, all together."""
    return {
        "by": query.by,
        "from": query.since,
        "to": query.until,
        "data": [
            {
                query.by: one.what,
                "runs": one.runs,
                "calls": one.calls,
                "cancelled": one.cancelled,
                "failures": one.failures,
                "cost_micro_usd": one.cost._asdict(),
                "seconds": one.seconds._asdict(),
            }
            for one in found.groups
        ],
        "truncated": found.truncated,
    }


def totals(history: Iterable[Event]) -> tuple[Money, int]:
    """Return what the calls of a run have cost so far, and how many were answered."""
    ended = [event for event in history if isinstance(event, Finished | Failed)]
    answered = sum(isinstance(event, Finished) for event in ended)
    return sum(event.cost for event in ended), answered
