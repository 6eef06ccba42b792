"""When a provider takes more, where a good answer says that nothing is left of a rate limit.

| provider        | nothing left                                      | it begins anew           |
|-----------------|---------------------------------------------------|--------------------------|
| OpenAI, Azure,  | `x-ratelimit-remaining-{requests,tokens}: 0`      | `-reset-`: 6m0s, 20ms, 1 |
| and look-alikes |                                                   |                          |
| Anthropic       | `anthropic-ratelimit-{...}-remaining: 0`          | `-reset`: RFC 3339       |

Sources: the providers' guides to rate limits. Times are measured by the answer's own `date`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from compass_ray.providers._errors import clamp_wait

Names = Sequence[tuple[str, str]]
"""Pairs of headers: what remains of a limit, and when it begins anew."""

OPENAI: Names = tuple(
    (f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}")
    for what in ("requests", "tokens")
)
ANTHROPIC: Names = tuple(
    (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
    for what in ("requests", "tokens", "input-tokens", "output-tokens")
)

_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_DURATION = re.compile(
    rf"(?:{_NUMBER}h)?(?:{_NUMBER}m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?", re.ASCII
)
_SECONDS = (3600.0, 60.0, 1.0, 0.001)


def rests_for(headers: Mapping[str, str], names: Names) -> float:
    """Return for how many seconds the provider takes nothing more, in 0 to 3,600."""
    longest = 0.0
    for remaining, reset in names:
        if headers.get(remaining) == "0":
            told = headers.get(reset, "")
            seconds = _duration(told)
            longest = max(longest, _until(told, headers) if seconds is None else seconds)
    return clamp_wait(longest)


def _duration(told: str) -> float | None:
    if _PLAIN.fullmatch(told):
        return float(told)
    found = _DURATION.fullmatch(told)
    if found is None or not told:
        return None
    parts = zip(found.groups(), _SECONDS, strict=True)
    return sum(float(part) * unit for part, unit in parts if part)


def _until(told: str, headers: Mapping[str, str]) -> float:
    try:
        until = datetime.fromisoformat(told)
        now = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return 0.0
    return (_aware(until) - _aware(now)).total_seconds()


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
