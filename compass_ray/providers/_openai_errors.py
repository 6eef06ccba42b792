"""Errors as OpenAI, Azure, Hugging Face, vLLM, llama.cpp and their like write them. Pure."""

from collections.abc import Mapping
from typing import Any

from compass_ray.providers._errors import Complaint, clamp_wait, retry_after, to_error
from compass_ray.providers._json import as_object, as_text, load_object
from compass_ray.types.errors import BadAnswer, CompassError

_CODES = {
    "billing_hard_limit_reached": "insufficient_quota",
    "billing_not_active": "insufficient_quota",
    "content_policy_violation": "content_filter",
    "invalid_prompt": "content_filter",
    "ResponsibleAIPolicyViolation": "content_filter",
    "DeploymentNotFound": "model_not_found",
    "model_not_supported": "model_not_found",
    "OperationNotSupported": "model_not_found",
    "404": "model_not_found",
    "exceed_context_size_error": "context_length_exceeded",
}
"""Their codes and types that stand for one of ours. Azure's "404" is that of an API version."""

_STATUSES = {
    "authentication_error": 401,
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "exceed_context_size_error": 400,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "overloaded_error": 503,
    "unavailable_error": 503,
    "validation": 422,
    "overloaded": 429,
}
"""The status an error inside a 200 would have had, by its type or code; the last two are TGI's."""


def read(status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
    """Read the body of an answer that is not a 200."""
    try:
        document = load_object(body)
    except BadAnswer:
        document = {}
    return to_error(_complaint(status, document, retry_after(headers)))


def in_answer(document: Mapping[str, Any]) -> CompassError:
    """Read an error inside a 200, whole or streamed; BadAnswer if there is none."""
    error = document.get("error")
    if error is None and document.get("object") != "error":
        return BadAnswer("the provider's answer has no choices")
    told = _complaint(0, document, None)
    number = as_object(error or document).get("code")
    status = number if type(number) is int and number // 100 in (4, 5) else 0
    kind = as_text(as_object(error or document).get("type") or document.get("error_type"))
    status = status or _STATUSES.get(told.code or "") or _STATUSES.get(kind) or 500
    return to_error(Complaint(status, told.message, told.code, told.param))


def _complaint(status: int, document: Mapping[str, Any], wait: float | None) -> Complaint:
    """Read {"error": {...}}, {"error": "text"}, {"message": ...} or {"detail": "text"}.

    Hugging Face says beside it for how many seconds a model will still be loading.
    """
    told = document.get("error")
    error = told if isinstance(told, dict) else document
    message = error.get("message") or told or document.get("detail")
    inner = as_object(error.get("innererror")).get("code")
    names = [as_text(name) for name in (error.get("code"), error.get("type"), inner)]
    canonical = next((name for name in names if name == "insufficient_quota"), None) or next(
        (_CODES[name] for name in names if name in _CODES), None
    )
    param = error.get("param")
    loading = document.get("estimated_time")
    if wait is None and isinstance(loading, int | float):
        wait = clamp_wait(loading)
    return Complaint(
        status,
        as_text(message),
        canonical or (None if names[0].isdigit() else names[0] or None),
        param if isinstance(param, str) else None,
        wait,
    )
