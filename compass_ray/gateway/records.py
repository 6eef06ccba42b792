"""What is remembered of a finished request: facts, and not a word of its prompt. Pure."""

from collections.abc import Iterable
from typing import Any

from compass_ray.gateway.job import Job
from compass_ray.types.accounts import Caller
from compass_ray.types.events import Attempt, Record
from compass_ray.types.idempotency import Answered
from compass_ray.types.routing import Endpoint
from compass_ray.types.usage import Usage


def of_job(job: Job[Any], status: int, endpoint: Endpoint | None, now: float) -> Record:
    """Return the record of a job that ended at `now`, on the job's own clock."""
    first = job.first_byte_at
    return Record(
        request_id=job.id,
        account=job.caller.account,
        key_name=job.caller.key_name,
        provider=endpoint.provider if endpoint else "",
        model=endpoint.model if endpoint else "",
        tier=int(endpoint.tier) if endpoint else 0,
        status=status,
        stream=job.request.stream,
        attempts=tuple(job.attempts),
        usage=_total([charge.usage for charge in job.charges]),
        cost=job.cost,
        seconds=now - job.started,
        ttft=None if first is None else first - job.started,
        at=job.created,
        assessments=tuple(job.assessments),
    )


def _total(usages: list[Usage]) -> Usage:
    return usages[0] if len(usages) == 1 else sum(usages, Usage())


def of_refusal(request_id: str, caller: Caller | None, status: int, at: float) -> Record:
    """Return the record of a request that was refused before anything was tried."""
    return Record(
        request_id=request_id,
        account=caller.account if caller else "",
        key_name=caller.key_name if caller else "",
        provider="",
        model="",
        tier=0,
        status=status,
        stream=False,
        attempts=(),
        usage=Usage(),
        cost=0,
        seconds=0.0,
        ttft=None,
        at=at,
    )


def of_replay(
    request_id: str, caller: Caller, answered: Answered, at: float, seconds: float
) -> Record:
    """Return the record of an answer that was told again: nobody was called."""
    return Record(
        request_id=request_id,
        account=caller.account,
        key_name=caller.key_name,
        provider="",
        model="",
        tier=0,
        status=200,
        stream=answered.answer.stream,
        attempts=(),
        usage=Usage(),
        cost=0,
        seconds=seconds,
        ttft=None,
        at=at,
        replay_of=answered.request_id,
    )


def of_attempts(attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
    """Return what a caller is told of the attempts at a request, JSON-ready."""
    return [_of_attempt(attempt) for attempt in attempts]


def _of_attempt(attempt: Attempt) -> dict[str, Any]:
    told: dict[str, Any] = {
        "endpoint": attempt.endpoint,
        "ok": attempt.ok,
        "seconds": round(attempt.seconds, 4),
    }
    if attempt.cost is not None:
        told["cost_micro_usd"] = attempt.cost
    if attempt.made_good:
        told["made_good"] = list(attempt.made_good)
    if attempt.error:
        told |= {"error": attempt.error, "message": attempt.message}
    return told
