"""Checks of a dialect's fields: what is missing, wrong or cannot be said is named. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson

from compass_ray.types.errors import InvalidRequest

Handling = Literal["translated", "advisory"] | tuple[Any, ...]
"""What a door does with a field: says the like in the normal form; leaves out a hint without which
the answer means the same; or, given a tuple, accepts only these values, which ask for nothing."""

_DIGITS = 5
"""Of a number; enough to tell that it is too large."""


def load(raw: bytes) -> dict[str, Any]:
    """Read a body.

    Raises:
        InvalidRequest: it is not a JSON object.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    return body


def dump(body: Mapping[str, Any]) -> bytes:
    """Write a body in the normal form.

    Raises:
        InvalidRequest: it is nested too deep.
    """
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as exc:
        raise InvalidRequest(f"the body cannot be translated: {exc}", code="invalid_json") from None


def check(told: Mapping[str, Any], fields: Mapping[str, Handling], path: str = "") -> None:
    """Check every field against the table; null counts as absent.

    Raises:
        InvalidRequest: names the first field that is not in the table or asks for too much.
    """
    for name, value in told.items():
        handling = fields.get(name, ())
        if value is not None and isinstance(handling, tuple) and value not in handling:
            raise unsupported(f"{path}{name}")


def unsupported(path: str, what: str = "") -> InvalidRequest:
    """Return the refusal of what the normal form cannot say."""
    message = f"{path}: {what or 'not supported by Compass'}"
    return InvalidRequest(message, code="unsupported_parameter", param=path)


def wrong(path: str, what: str) -> InvalidRequest:
    """Return the refusal of what the dialect itself does not allow."""
    return InvalidRequest(f"{path}: {what}", param=path)


def one_of(value: Any, options: Iterable[str], path: str) -> str:
    """Return a string that is one of the options.

    Raises:
        InvalidRequest: it is none; names them.
    """
    names = tuple(options)
    if value not in names:
        raise wrong(path, f"must be one of {', '.join(names)}")
    found: str = value
    return found


def object_at(value: Any, path: str) -> dict[str, Any]:
    """Return an object, an empty one for null.

    Raises:
        InvalidRequest
    """
    return {} if value is None else entry_at(value, path)


def entry_at(value: Any, path: str) -> dict[str, Any]:
    """Return an object that may not be null, such as an entry of an array.

    Raises:
        InvalidRequest
    """
    if not isinstance(value, dict):
        raise wrong(path, "must be an object")
    return value


def list_at(value: Any, path: str) -> list[Any]:
    """Return an array, an empty one for null.

    Raises:
        InvalidRequest
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(path, "must be an array")
    return value


def text_at(value: Any, path: str) -> str:
    """Return a string.

    Raises:
        InvalidRequest
    """
    if not isinstance(value, str):
        raise wrong(path, "must be a string")
    return value


def page_size(told: str | None, usual: int, most: int) -> int:
    """Return how many a query string's `limit` asks for.

    Raises:
        InvalidRequest: it is no whole number from 1 to `most`.
    """
    if told is None:
        return usual
    is_number = told.isascii() and told.isdigit() and len(told) <= _DIGITS
    if not is_number or not 1 <= int(told) <= most:
        raise wrong("limit", f"must be a whole number from 1 to {most}")
    return int(told)
