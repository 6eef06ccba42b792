"""What a provider's complaint means: whose fault it is and when to try again. Pure.

A wire reads its provider's error form into a `Complaint`, and gives it one of the `CODES` where
the provider's own code says so. What is left is told by a few well-known phrases and the status:

| status             | error                                                  |
|--------------------|--------------------------------------------------------|
| 401, 403           | ProviderAuthFailed: our key, not the caller's          |
| 402                | QuotaExhausted                                         |
| 408                | ProviderTimeout                                        |
| 409, 424, 499      | ProviderFault: the same request may work again         |
| 429                | RateLimited                                            |
| other 4xx          | Rejected, with the provider's code and param           |
| 503, 529           | Overloaded                                             |
| other 5xx          | ProviderFault                                          |
| anything else      | BadAnswer                                              |

`model_not_found` is a ProviderFault: the caller named a model that our catalogue promises.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from compass_ray.types.errors import (
    BadAnswer,
    CompassError,
    NoSpareCapacity,
    Overloaded,
    ProviderAuthFailed,
    ProviderFault,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    Rejected,
)

MAX_RETRY_AFTER = 3600.0
_SPARE_AFTER = 30.0
"""Seconds after which there may be spare capacity again, where nobody says."""
_MAX_MESSAGE = 500
_MAX_READ = 4 * _MAX_MESSAGE

CODES: Mapping[str, type[CompassError]] = {
    "context_length_exceeded": Rejected,
    "content_filter": Rejected,
    "model_not_found": ProviderFault,
    "insufficient_quota": QuotaExhausted,
    "invalid_api_key": ProviderAuthFailed,
    "resource_unavailable": NoSpareCapacity,
}
"""The codes that decide by themselves."""

_PHRASES = (
    (
        re.compile(
            r"maximum context length|context (?:length|window|size|limit)|prompt is too long"
            r"|input token count .{0,80}exceeds",
            re.IGNORECASE,
        ),
        frozenset({400, 413, 422}),
        "context_length_exceeded",
    ),
    (
        re.compile(
            r"content (?:filter|management policy|policy)|usage polic(?:y|ies)", re.IGNORECASE
        ),
        frozenset({400, 403, 422}),
        "content_filter",
    ),
    (
        re.compile(
            r"credit balance|credits? (?:are |is )?depleted|billing hard limit|insufficient.quota",
            re.IGNORECASE,
        ),
        frozenset({400, 403, 429}),
        "insufficient_quota",
    ),
    (re.compile(r"resource unavailable", re.IGNORECASE), frozenset({429}), "resource_unavailable"),
    (
        re.compile(
            r"\b(?:models?\b.{0,120}(?:not exist|not found)|no such model)|^model: ", re.IGNORECASE
        ),
        frozenset({404}),
        "model_not_found",
    ),
)
"""Phrase, the statuses in which it is telling, and the code it stands for."""

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|r8|sess|fw|nvapi|pplx)[-_][\w*.\-]{6,}"
    r"|\bAIza[\w*\-]{8,}|\bya29\.[\w.\-]+|\beyJ[\w\-]{8,}[\w.\-]*|\bA[KS]IA\w{12,}"
    r"|\bbearer\s+[^\s'\",]{8,}"
    r"|(?<![a-z])(?:key|token|secret|password)\s?[=:]\s?[^\s'\",]{6,}"
    r"|[\w\-]*\*{3,}[\w\-]*"
    r"|\b[\w\-]{40,}|\b[0-9a-f]{32,}\b",
    re.IGNORECASE,
)


_SPENT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,12})\b", re.ASCII)
"""Nothing left of a rate limit, and the seconds until it begins anew."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A provider's error, read; `status` is HTTP's, `retry_after` is in seconds."""

    status: int
    message: str = ""
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None


def to_error(complaint: Complaint) -> CompassError:
    """Return our error for `complaint`, by the table above."""
    message = redact(complaint.message) or f"the provider answered with status {complaint.status}"
    code = complaint.code if complaint.code in CODES else _told(complaint) or complaint.code
    cls = CODES.get(code or "") or _by_status(complaint.status)
    if cls is ProviderTimeout:
        return ProviderTimeout(message, phase="first byte")
    wait = complaint.retry_after
    if cls is NoSpareCapacity and wait is None:
        wait = _SPARE_AFTER
    return cls(message, code=code, param=complaint.param, retry_after=wait)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, in 0 to 3,600, or None where the provider does not say.

    Reads `retry-after-ms`, `retry-after` in seconds or as a date, and where nothing is left of a
    rate limit, when `ratelimit` says it begins anew (IETF's draft, as Hugging Face sends it). A
    date is measured by the answer's own `date`, since there is no clock here, and ignored
    without one.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return clamp_wait(milliseconds / 1000)
    told = headers.get("retry-after", "")
    seconds = _number(told)
    if seconds is None:
        until, now = _date(told), _date(headers.get("date", ""))
        seconds = None if until is None or now is None else until - now
    if seconds is None and (spent := _SPENT.search(headers.get("ratelimit", ""))):
        seconds = float(spent[1])
    return None if seconds is None else clamp_wait(seconds)


def clamp_wait(seconds: float) -> float:
    """Return `seconds` in 0 to 3,600: nobody waits for a nonsense, nor before it was said."""
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def redact(message: str) -> str:
    """Return `message` without anything that looks like a key, at most 500 characters long."""
    clean = _SECRET.sub("[redacted]", message[:_MAX_READ])
    clean = " ".join(clean.split())
    return clean if len(clean) <= _MAX_MESSAGE else clean[: _MAX_MESSAGE - 1] + "…"


def _told(complaint: Complaint) -> str | None:
    text = complaint.message[:_MAX_READ]
    for phrase, statuses, code in _PHRASES:
        if complaint.status in statuses and phrase.search(text):
            return code
    return None


_BY_STATUS: Mapping[int, type[CompassError]] = {
    401: ProviderAuthFailed,
    402: QuotaExhausted,
    403: ProviderAuthFailed,
    408: ProviderTimeout,
    409: ProviderFault,  # the official SDKs try again
    424: ProviderFault,  # what the provider itself depends on
    429: RateLimited,
    499: ProviderFault,  # it thinks that we left
    503: Overloaded,
    529: Overloaded,
}


def _by_status(status: int) -> type[CompassError]:
    family = {4: Rejected, 5: ProviderFault}.get(status // 100, BadAnswer)
    return _BY_STATUS.get(status, family)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
