"""What a batch is: how its lines are read, when one is asked again, how its results read. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

import orjson

from compass_ray.types.batches import Batch, Counts, Line, LineError, Outcome, Status, Told

ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings", "/v1/responses")
"""What a batch may ask."""
OVER: frozenset[Status] = frozenset({"failed", "completed", "expired", "cancelled"})
"""How a batch ends."""

_AFTER: Mapping[Status, frozenset[Status]] = {
    "validating": frozenset({"failed", "in_progress", "cancelling"}),
    "in_progress": frozenset({"finalizing", "cancelling"}),
    "finalizing": frozenset({"completed", "expired"}),
    "cancelling": frozenset({"cancelled"}),
}
"""What may follow; nothing follows those that are over."""

_MOST_ERRORS = 100
"""That are told; who has more finds the rest after these."""
_LONGEST_ID = 512
_OK = 200
_FIELDS = ("custom_id", "method", "url", "body")
_MOST_FAILURES = 5
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_UNHEARD = {
    "expired": LineError("batch_expired", "the batch's time was over before this was answered"),
    "cancelled": LineError("batch_cancelled", "the batch was cancelled before this was answered"),
}


def read_line(number: int, raw: bytes, endpoint: str) -> Line | LineError:
    """Return the request of a line, or what is wrong with it."""
    try:
        told = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return LineError("invalid_json_line", f"the line is not valid JSON: {error}", number)
    if not isinstance(told, dict):
        return LineError("invalid_json_line", "the line is not a JSON object", number)
    flaw = next(_flaws(told, endpoint), None)
    if flaw is not None:
        return flaw._replace(line=number)
    return Line(number, told["custom_id"], orjson.dumps(told["body"]))


def _flaws(told: Mapping[str, Any], endpoint: str) -> Iterator[LineError]:
    for field in _FIELDS:
        if field not in told:
            yield LineError("missing_required_parameter", f"{field} is missing", param=field)
    custom_id, body = told["custom_id"], told["body"]
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _LONGEST_ID:
        message = f"custom_id must be a text of 1 to {_LONGEST_ID} characters"
        yield LineError("invalid_custom_id", message, param="custom_id")
    if told["method"] != "POST":
        yield LineError("invalid_method", "method must be POST", param="method")
    if told["url"] != endpoint:
        message = f"url must be the batch's endpoint, {endpoint}"
        yield LineError("mismatched_endpoint", message, param="url")
    if not isinstance(body, dict):
        yield LineError("invalid_body", "body must be an object", param="body")
    elif body.get("stream"):
        yield LineError("invalid_body", "a batch has no streams", param="body.stream")


def checked(
    lines: Iterable[tuple[int, bytes]], endpoint: str, most: int
) -> tuple[int, tuple[LineError, ...]]:
    """Return how many lines there are, and what is wrong with the first that are not sound."""
    seen: set[str] = set()
    errors: list[LineError] = []
    count = 0
    for number, raw in lines:
        count += 1
        if count > most:
            return count, (LineError("too_many_requests", f"a batch has at most {most} requests"),)
        line = read_line(number, raw, endpoint)
        if isinstance(line, Line):
            if line.custom_id not in seen:
                seen.add(line.custom_id)
                continue
            message = f"custom_id {line.custom_id!r} is another line's"
            line = LineError("duplicate_custom_id", message, number, "custom_id")
        if len(errors) < _MOST_ERRORS:
            errors.append(line)
    if not count:
        errors.append(LineError("empty_file", "the file holds no request"))
    return count, tuple(errors)


def pause(told: Told, failures: int, u: float) -> float | None:
    """Return in how many seconds a line is asked again after its `failures`-th error; None: never.

    Who is told when to come again waits for that, however often; `u` is uniform in [0, 1).
    """
    if not told.again:
        return None
    if told.retry_after is not None:
        return min(told.retry_after, _LONGEST_PAUSE) * (1 + u / 4)
    if failures >= _MOST_FAILURES:
        return None
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (failures - 1)) * (1 + u)


def answered(batch: Batch, line: Line, told: Told) -> Outcome:
    """Return how a line ended that the gateway has said something to."""
    response = {
        "status_code": told.status,
        "request_id": told.request_id,
        "body": orjson.Fragment(told.body),
    }
    written = _written(batch, line, response, None)
    return Outcome(line.number, told.status == _OK, told.cost, written)


def unheard(batch: Batch, line: Line, end: Status) -> bytes:
    """Return the line of a result file for a request that was never asked."""
    why = _UNHEARD[end]
    return _written(batch, line, None, {"code": why.code, "message": why.message})


def end_of(batch: Batch, now: float) -> Status:
    """Return how a batch ends whose last request has ended, or will not be asked any more."""
    if batch.status == "cancelling":
        return "cancelled"
    if batch.errors:
        return "failed"
    done = batch.counts.completed + batch.counts.failed
    return "expired" if done < batch.counts.total and now >= batch.expires_at else "completed"


def moved(batch: Batch, status: Status, now: float, **changes: Any) -> Batch:
    """Return the batch with these fields changed, and in this status if that may follow."""
    if status in _AFTER.get(batch.status, ()):
        changes |= {"status": status, "at": {**batch.at, status: now}}
    return replace(batch, **changes)


def with_files(batch: Batch, files: Mapping[str, str]) -> Batch:
    """Return the batch with its result files, by kind."""
    return replace(batch, output_file=files.get("output"), error_file=files.get("error"))


def recounted(batch: Batch, outcomes: Iterable[Outcome]) -> Batch:
    """Return the batch with just these ends of requests counted."""
    return counted(replace(batch, counts=Counts(batch.counts.total), cost=0), outcomes)


def counted(batch: Batch, outcomes: Iterable[Outcome]) -> Batch:
    """Return the batch with these ends of requests counted."""
    completed = failed = cost = 0
    for one in outcomes:
        completed += one.ok
        failed += not one.ok
        cost += one.cost
    counts = batch.counts
    counts = counts._replace(completed=counts.completed + completed, failed=counts.failed + failed)
    return replace(batch, counts=counts, cost=batch.cost + cost)


def as_json(batch: Batch) -> dict[str, object]:
    """Return a batch as OpenAI tells it, and what it has cost so far."""
    errors = None
    if batch.errors:
        errors = {"object": "list", "data": [one._asdict() for one in batch.errors]}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": errors,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.expires_at),
        **dict(_moments(batch)),
        "request_counts": batch.counts._asdict(),
        "metadata": dict(batch.metadata) or None,
        "compass": {"cost_micro_usd": batch.cost},
    }


def _moments(batch: Batch) -> Iterator[tuple[str, int | None]]:
    for status in get_args(Status):
        if status != "validating":
            at = batch.at.get(status)
            yield f"{status}_at", None if at is None else int(at)


def _written(
    batch: Batch, line: Line, response: dict[str, Any] | None, error: dict[str, str] | None
) -> bytes:
    told = {
        "id": f"batch_req_{batch.id.removeprefix('batch_')}_{line.number}",
        "custom_id": line.custom_id,
        "response": response,
        "error": error,
    }
    return orjson.dumps(told)
