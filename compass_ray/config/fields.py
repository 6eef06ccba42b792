"""The kinds of values that settings have, and what is said to whoever gets one wrong."""

from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from compass_ray.config.amounts import micro_dollars, pico_dollars
from compass_ray.types.shifts import DriftMode
from compass_ray.types.usage import Money

NAME = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
KEY_HASH = r"^sha256:[0-9a-fA-F]{64}$"
API_VERSION = r"^\d{4}-\d{2}-\d{2}(-preview)?$"

PATTERNS = {
    NAME: "must be a name: letters, digits and . _ : - (at most 100)",
    VARIABLE: "must be the name of an environment variable, never a key itself",
    KEY_HASH: "must be 'sha256:' and 64 hex digits, never the key itself",
    API_VERSION: "must be a dated version of the API, such as '2024-10-21'",
}
"""What to say to whoever breaks one; the value itself is never repeated."""


def check_url(url: str) -> str:
    """Return `url` without a trailing slash.

    Raises:
        ValueError: it is not plain http(s)://host[:port][/path]; does not repeat it.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # refuses what is no port
    except ValueError:
        raise ValueError("must be a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password: keys come from the environment")
    if parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise ValueError("must be a URL without query, fragment and blanks")
    return url.rstrip("/")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone's name, such as Europe/Berlin") from None
    return name


def _day(value: Any) -> Any:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _dated(value: Any) -> Any:
    """Return a date, which is what YAML reads a version as, in the words of its author."""
    return value.isoformat() if isinstance(value, date) else value


def _switch(value: Any) -> Any:
    """Return on or off, which YAML reads as truth values, in the words of their author."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


_AMOUNT: dict[str, Any] = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9.]+$"}]
}
Name = Annotated[str, Field(pattern=NAME)]
Variables = list[Annotated[str, Field(pattern=VARIABLE)]]
Url = Annotated[str, AfterValidator(check_url)]
ApiVersion = Annotated[str, BeforeValidator(_dated), Field(pattern=API_VERSION)]
Glob = Annotated[str, Field(min_length=1, max_length=200)]
FilePath = Annotated[str, Field(min_length=1, max_length=4096)]
Day = Annotated[date, BeforeValidator(_day)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Amount = Annotated[int, Field(ge=0, le=10**15)]
Percent = Annotated[int, Field(ge=1, le=100)]
TimeZone = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_zone)]
Share = Annotated[float, Field(ge=0, le=1)]
Frugality = Annotated[float, Field(ge=0, le=10)]
Stars = Annotated[int, Field(ge=1, le=5)]
Dollars = Annotated[Money, BeforeValidator(micro_dollars), WithJsonSchema(_AMOUNT)]
TokenPrice = Annotated[int, BeforeValidator(pico_dollars), WithJsonSchema(_AMOUNT)]
Learning = Annotated[Literal["on", "frozen", "off"], BeforeValidator(_switch)]
Escalating = Annotated[Literal["on", "asked", "off"], BeforeValidator(_switch)]
Drifting = Annotated[DriftMode, BeforeValidator(_switch)]
TierName = Literal[1, 2, 3, 4, "premium", "balanced", "fast", "specialized"]
Skill = Literal[
    "reasoning", "coding", "creative", "math", "multilingual", "vision", "function_calling"
]


class Section(BaseModel):
    """A mapping of settings; unknown keys and wrong types are refused."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )
