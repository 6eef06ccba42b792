"""Anthropic's errors. Pure. Source: anthropic.types.shared, version 2026-10-21."""

from collections.abc import Mapping
from typing import Any

from compass_ray.providers._errors import Complaint, retry_after, to_error
from compass_ray.providers._json import as_object, as_text, load_object
from compass_ray.providers.anthropic_vocabulary import STATUSES
from compass_ray.types.errors import BadAnswer, CompassError

_CODES = {
    "contract_spend_limit_reached": "insufficient_quota",
    "enforced_spend_limit_reached": "insufficient_quota",
    "linked_organization_billing_unavailable": "insufficient_quota",
    "linked_organization_spend_limit_reached": "insufficient_quota",
    "cmek_key_disabled": "invalid_api_key",
    "cmek_key_network_blocked": "invalid_api_key",
    "organization_on_hold": "invalid_api_key",
    "organization_type_not_supported": "invalid_api_key",
    "parent_organization_required": "invalid_api_key",
}
"""Anthropic's error codes that stand for one of ours: no request mends what is the account's."""


def read(status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
    """Read the body of an answer that is not a 200."""
    try:
        document = load_object(body)
    except BadAnswer:
        document = {}
    return _error(status, document, retry_after(headers))


def in_answer(document: Mapping[str, Any]) -> CompassError:
    """Read an error inside a 200, whole or streamed."""
    kind = as_text(as_object(document.get("error")).get("type"))
    return _error(STATUSES.get(kind, 500), document, None)


def _error(status: int, document: Mapping[str, Any], wait: float | None) -> CompassError:
    error = as_object(document.get("error"))
    detail = as_text(as_object(error.get("details")).get("error_code"))
    code = _CODES.get(detail, detail) or None
    return to_error(Complaint(status, as_text(error.get("message")), code, None, wait))
