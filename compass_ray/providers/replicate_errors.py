"""Replicate's errors: problem details (RFC 7807), and what a failed prediction says. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from compass_ray.providers._errors import Complaint, clamp_wait, retry_after, to_error
from compass_ray.providers._json import as_list, as_object, as_text, load_object
from compass_ray.types.errors import BadAnswer, CompassError

_AVAILABLE = re.compile(r"(?:available in|resets in) ~?(\d{1,6}) ?s", re.IGNORECASE)
_NO_VERSION = re.compile(r"invalid version|version does not exist", re.IGNORECASE)
_TOO_LONG = re.compile(r"\bE1002\b|prompt ?too ?long", re.IGNORECASE)
_FLAGGED = re.compile(r"\bE005\b|flagged as sensitive|nsfw", re.IGNORECASE)


def read(status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
    """Read the body of an answer that is not a 2xx."""
    try:
        problem = load_object(body)
    except BadAnswer:
        problem = {}
    message = ": ".join(filter(None, (as_text(problem.get("title")), as_text(_detail(problem)))))
    missing = status == 404 or _NO_VERSION.search(message)  # noqa: PLR2004  # HTTP's
    wait = retry_after(headers)
    return to_error(
        Complaint(
            status,
            message,
            "model_not_found" if missing else None,
            _field(problem),
            _said(problem, message) if wait is None else wait,
        )
    )


def in_stream(data: bytes) -> CompassError:
    """Read the data of an error event: a text, or a JSON object that says more."""
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        told = data.decode("utf-8", "replace")
    detail = _detail(told) if isinstance(told, dict) else told
    return of_prediction(detail)


def of_prediction(error: Any) -> CompassError:
    """Read why a prediction failed: the prompt's fault, or the model's."""
    message = as_text(error) or "the prediction failed"
    code = None
    if _TOO_LONG.search(message[:500]):
        code = "context_length_exceeded"
    elif _FLAGGED.search(message[:500]):
        code = "content_filter"
    return to_error(Complaint(500, message, code))


def _detail(problem: Mapping[str, Any]) -> Any:
    return problem.get("detail") or problem.get("error")


def _field(problem: Mapping[str, Any]) -> str | None:
    invalid = [as_object(one) for one in as_list(problem.get("invalid_fields"))]
    names = (as_text(one.get("field")).removeprefix("input.") for one in invalid)
    return next(filter(None, names), None)


def _said(problem: Mapping[str, Any], message: str) -> float | None:
    """Return the seconds that the body says to wait."""
    told = problem.get("retry_after")
    if isinstance(told, int | float):
        return clamp_wait(told)
    found = _AVAILABLE.search(message[:500])
    return clamp_wait(float(found[1])) if found else None
