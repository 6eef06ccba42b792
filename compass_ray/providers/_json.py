"""JSON as a wire reads and writes it, with failures in our own tree. Pure."""

from typing import Any

import orjson

from compass_ray.types.errors import BadAnswer, InvalidRequest
from compass_ray.types.usage import MAX_TOKENS


def load_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        BadAnswer: it is not JSON, or not an object.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadAnswer("the provider did not answer in JSON") from None
    if type(value) is not dict:
        raise BadAnswer("the provider's answer is not a JSON object")
    return value


def dump(value: Any) -> bytes:
    """Write JSON.

    Raises:
        InvalidRequest: a lone surrogate, or an integer of more than 64 bits.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        raise InvalidRequest(f"the request cannot be written as JSON: {exc}") from None


def as_object(value: Any) -> dict[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return `value` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return `value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def text_or_none(name: str, value: Any) -> str | None:
    """Return `value` if it is a string or null.

    Raises:
        BadAnswer: it is something else.
    """
    if value is not None and type(value) is not str:
        raise BadAnswer(f"{name} of the provider's answer is not a string")
    return value


def count_of(told: dict[str, Any], name: str) -> int:
    """Return a count that an answer tells.

    Raises:
        BadAnswer: it tells none that can be.
    """
    count = told.get(name)
    if type(count) is not int or not 0 <= count <= MAX_TOKENS:
        raise BadAnswer(f"{name} of the provider's answer is no count of tokens")
    return count


def objects(name: str, value: Any) -> list[dict[str, Any]]:
    """Return `value` if it is an array of objects.

    Raises:
        BadAnswer: it is something else.
    """
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadAnswer(f"{name} of the provider's answer is not an array of objects")
    return value
