"""Checked look-ups in a request's body: what is missing or wrong is refused in words. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.simulator.exchange import Tool


def load(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body; None if it holds none."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, in order, names of fields and data of media left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("type", "role", "id", "data", "url", "image_url", "file_data"):
                yield from texts(inner)


def media(value: Any, names: frozenset[str]) -> int:
    """Count the images and files in a JSON value: objects that have or are one of `names`."""
    if isinstance(value, list):
        return sum(media(inner, names) for inner in value)
    if isinstance(value, dict):
        if value.get("type") in names or names & value.keys():
            return 1
        return sum(media(inner, names) for inner in value.values())
    return 0


def dumps(value: Any) -> str:
    """Write a tool's definition as it counts for tokens."""
    return orjson.dumps(value).decode()


def tool(name: Any, schema: Any) -> Tool:
    """Return a tool; one without parameters takes an empty object."""
    return Tool(str(name), schema if isinstance(schema, Mapping) else {"type": "object"})


def whole(value: Any) -> int | None:
    """Return a whole number; None for anything else, true and false included."""
    return value if type(value) is int else None
