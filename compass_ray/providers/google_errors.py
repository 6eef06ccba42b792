"""Google's errors (google.rpc.Status with details). Pure.

A 429 is one of two: a rate per minute, which says when to try again, or a quota per day or the
account's money, which no waiting within a request mends.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.providers._errors import Complaint, clamp_wait, retry_after, to_error
from compass_ray.providers._json import as_list, as_object, as_text
from compass_ray.types.errors import CompassError

_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""google.rpc.Code to the status it comes with, for errors inside a stream."""

_PER_DAY = re.compile(r"per ?(?:day|month)", re.IGNORECASE)
_BILLING = re.compile(r"plan and billing|prepay|credits", re.IGNORECASE)
_DELAY = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)s")


def read(status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
    """Read the body of an answer that is not a 200; streams wrap it in an array."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, list) and document:
        document = document[0]
    return _error(status, as_object(as_object(document).get("error")), retry_after(headers))


def in_answer(document: Mapping[str, Any]) -> CompassError:
    """Read an error inside a 200, whole or streamed."""
    error = as_object(document.get("error"))
    number = error.get("code")
    status = _STATUSES.get(as_text(error.get("status")))
    if status is None:
        status = number if type(number) is int and number // 100 in (4, 5) else 500
    return _error(status, error, None)


def _error(status: int, error: Mapping[str, Any], wait: float | None) -> CompassError:
    message = as_text(error.get("message"))
    details = [as_object(detail) for detail in as_list(error.get("details"))]
    if wait is None:
        wait = next(_delays(details), None)
    return to_error(Complaint(status, message, _code(status, error, details, wait), None, wait))


def _code(
    status: int, error: Mapping[str, Any], details: list[dict[str, Any]], wait: float | None
) -> str | None:
    if status == 400 and error.get("status") == "FAILED_PRECONDITION":  # noqa: PLR2004  # HTTP's
        return "invalid_api_key"  # the account's country or billing; nothing of the request
    reasons = {as_text(detail.get("reason")) for detail in details}
    if reasons & {"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "SERVICE_DISABLED"}:
        return "invalid_api_key"
    if status == 429 and _is_exhausted(as_text(error.get("message")), details, wait):  # noqa: PLR2004  # HTTP's
        return "insufficient_quota"
    return None


def _is_exhausted(message: str, details: list[dict[str, Any]], wait: float | None) -> bool:
    quotas = list(_quotas(details))
    if any(_PER_DAY.search(quota) for quota in (*quotas, message)):
        return True
    return not quotas and wait is None and _BILLING.search(message) is not None


def _quotas(details: list[dict[str, Any]]) -> Iterator[str]:
    for detail in details:
        for violation in as_list(detail.get("violations")):
            yield as_text(as_object(violation).get("quotaId"))
        yield as_text(as_object(detail.get("metadata")).get("quota_limit"))


def _delays(details: list[dict[str, Any]]) -> Iterator[float]:
    for detail in details:
        told = _DELAY.fullmatch(as_text(detail.get("retryDelay")))
        if told is not None:
            yield clamp_wait(float(told[1]))
