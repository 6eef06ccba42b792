"""Made-up answers: text of an exact length, and JSON that a schema accepts. Pure."""

import random
from collections.abc import Mapping
from typing import Any

from compass_ray.simulator.tokens import BYTES

_LOREM = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco"
)
_WORDS = tuple(_LOREM.split())
_DEEP = 6
"""Below this depth only what is required is made: schemas may contain themselves."""
_DEEPEST = 2 * _DEEP
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "lorem@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def lorem(rng: random.Random, tokens: int) -> str:
    """Return text of exactly `tokens` tokens that ends with a full stop."""
    length = tokens * BYTES
    words: list[str] = []
    size = 0
    while size <= length:
        words.append(rng.choice(_WORDS))
        size += len(words[-1]) + 1
    text = " ".join(words)[:length].capitalize()
    return text[:-1] + "." if text else ""


def sample(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """Return a value that a JSON schema accepts; `pattern` is not looked at.

    Types may be written as Google does, in capitals.
    """
    return _Sampler(schema, rng).value(schema, 0)


class _Sampler:
    def __init__(self, root: Mapping[str, Any], rng: random.Random) -> None:
        self._root = root
        self._rng = rng

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return None  # `true`: anything goes; or no value can satisfy what requires itself
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._rng.choice(schema["enum"])
        made: Any = None
        match _type(schema):
            case "object":
                made = self._object(schema, depth)
            case "array":
                made = self._array(schema, depth)
            case "string":
                made = self._string(schema)
            case "integer":
                made = int(_number(schema, self._rng.randint(1, 9)))
            case "number":
                made = _number(schema, self._rng.randint(1, 9))
            case "boolean":
                made = self._rng.choice((False, True))
        return made

    def _plain(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """Follow references and take one of each alternative."""
        for _ in range(_DEEP):
            if "$ref" in schema:
                schema = {**self._referred(str(schema["$ref"])), **_without(schema, "$ref")}
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                flat = [one for one in options if _is_flat(one)]
                pick = flat[0] if depth >= _DEEP and flat else options[0]
                schema = {**_without(schema, "anyOf", "oneOf"), **pick}
            elif parts := schema.get("allOf"):
                schema = _without(schema, "allOf")
                for part in parts:
                    schema = _merged(schema, self._plain(part, depth))
            else:
                break
        return schema

    def _referred(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        names = schema.get("required") or () if depth >= _DEEP else properties
        made = {name: self.value(properties.get(name, {}), depth + 1) for name in names}
        for name in schema.get("required") or ():
            made.setdefault(name, None)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, 1)))
        length = min(most, max(least, 0 if depth >= _DEEP else 1))
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(length)]

    def _string(self, schema: Mapping[str, Any]) -> str:
        text = _FORMATS.get(str(schema.get("format"))) or self._rng.choice(_WORDS)
        least = int(schema.get("minLength", 0))
        return text.ljust(least, "x")[: int(schema.get("maxLength", max(least, len(text))))]


def _is_flat(schema: Mapping[str, Any]) -> bool:
    return "$ref" not in schema and _type(schema) not in ("object", "array")


def _type(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return ""
    told = schema.get("type")
    if isinstance(told, list):
        told = next((one for one in told if str(one).lower() != "null"), "null")
    if told is None:
        told = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(told).lower()


def _number(schema: Mapping[str, Any], wished: float) -> float:
    """Return the number nearest to the wished one that lies within the bounds."""
    step = schema.get("multipleOf") or 1
    least = schema.get("minimum")
    most = schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        least = above + step
    if (below := schema.get("exclusiveMaximum")) is not None:
        most = below - step
    number = wished * step
    if least is not None and number < least:
        number = -(-least // step) * step
    if most is not None and number > most:
        number = most // step * step
    return float(number)


def _without(schema: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in names}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **one,
        **other,
        "properties": {**(one.get("properties") or {}), **(other.get("properties") or {})},
        "required": [*(one.get("required") or ()), *(other.get("required") or ())],
    }
