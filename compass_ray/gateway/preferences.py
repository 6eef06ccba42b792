"""What a caller asks of the router: in the body's `compass`, or in headers of its own. Pure.

Headers are for those who cannot add to a body; where both say something the body counts. A header
that is not in `HEADERS` is none of a request's: as is usual in HTTP, it is not looked at.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, get_args

from compass_ray.policy.pricing import to_micro
from compass_ray.types.errors import InvalidRequest
from compass_ray.types.routing import TIERS, OnBreak, Preferences, Tier, Urgency
from compass_ray.types.usage import Money

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "x-compass-buffer": "buffer",
        "x-compass-escalate": "escalate",
        "x-compass-hedge-after": "hedge_after_s",
        "x-compass-max-cost-usd": "max_cost_usd",
        "x-compass-on-break": "on_break",
        "x-compass-timeout": "timeout_s",
        "x-compass-urgency": "urgency",
    }
)
"""Header to the field of `compass` that it stands for."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_NO_PREFERENCES = Preferences()
_DAY = 86_400
_MAX_FALLBACKS = 16


def read_preferences(wish: Any, headers: Mapping[str, str]) -> Preferences:
    """Return the preferences; header names are lower case.

    Raises:
        InvalidRequest: names the header or the field of `compass`.
    """
    if wish is None and not headers:
        return _NO_PREFERENCES
    told = [
        (header, HEADERS[header], value) for header, value in headers.items() if header in HEADERS
    ]
    if isinstance(wish, dict):
        told += [(f"compass.{name}", name, value) for name, value in wish.items()]
    elif wish is not None:
        raise InvalidRequest("compass must be an object", param="compass")
    read: dict[str, Any] = {}
    for param, name, value in told:
        if name not in _FIELDS:
            raise InvalidRequest(f"{param} is unknown", param=param)
        if value is not None:
            attribute, reader = _FIELDS[name]
            read[attribute] = reader(value, param)
    return Preferences(**read)


def _tier(value: Any, param: str) -> Tier:
    found = TIERS.get(str(value)) if isinstance(value, str | int) else None
    if found is None:
        names = ", ".join(one.name.lower() for one in Tier)
        raise InvalidRequest(f"{param} must be 1 to 4 or one of {names}", param=param)
    return found


def dollars(value: Any, param: str) -> Money:
    """Return an amount of dollars in micro-dollars.

    Raises:
        InvalidRequest: `value` is none.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return to_micro(value)
        except ValueError:
            pass
    raise InvalidRequest(f"{param} must be a non-negative number of dollars", param=param)


def _seconds(value: Any, param: str) -> float:
    """Read a number; a header's is text."""
    try:
        seconds = float(value) if isinstance(value, str) else value
    except ValueError:
        seconds = 0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _DAY:
        raise InvalidRequest(f"{param} must be a number of seconds, at most {_DAY}", param=param)
    return float(seconds)


def _share(value: Any, param: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRequest(f"{param} must be a number from 0 to 1", param=param)
    return float(value)


def _fallbacks(value: Any, param: str) -> tuple[str, ...]:
    names = value if isinstance(value, list) and len(value) <= _MAX_FALLBACKS else [None]
    if not all(isinstance(name, str) and name for name in names):
        raise InvalidRequest(
            f"{param} must be an array of at most {_MAX_FALLBACKS} models' names", param=param
        )
    return tuple(names)


def _providers(value: Any, param: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidRequest(f"{param} must be an array of strings", param=param)
    return frozenset(value)


def _flag(value: Any, param: str) -> bool:
    """Read true or false; a header's is text."""
    flag = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise InvalidRequest(f"{param} must be true or false", param=param)
    return flag


def _one_of(names: tuple[str, ...]) -> Callable[[Any, str], str]:
    def read(value: Any, param: str) -> str:
        if not isinstance(value, str) or value not in names:
            raise InvalidRequest(f"{param} must be one of {', '.join(names)}", param=param)
        return value

    return read


_FIELDS: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "budget_used": ("budget_used", _share),
    "buffer": ("buffer", _flag),
    "escalate": ("escalate", _flag),
    "fallbacks": ("fallbacks", _fallbacks),
    "hedge_after_s": ("hedge_after", _seconds),
    "max_cost_usd": ("max_cost", dollars),
    "on_break": ("on_break", _one_of(get_args(OnBreak))),
    "providers": ("providers", _providers),
    "tier": ("tier", _tier),
    "timeout_s": ("timeout", _seconds),
    "urgency": ("urgency", _one_of(get_args(Urgency))),
}
"""Field of `compass` to the attribute of `Preferences`, and its reader; null counts as absent."""
