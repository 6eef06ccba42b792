"""Whether an answer can be held to a schema for certain, and in bounded time. Pure.

Schemas are the callers' own, and so are their traps: expressions that take for ever, references to
elsewhere or to themselves, thousands of parts. What is found here is refused before anybody is
asked; the check of an answer is `policy.wellformed`'s.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

__all__ = ["FOREIGN", "uncheckable"]

FOREIGN = ("pattern", "patternProperties", "propertyNames", "format", "$dynamicRef", "uniqueItems")
"""Not looked at: expressions that can take for ever, and what is quadratic."""

_REMARKS = frozenset({"format"})
"""By the standard they bind nobody, so that an answer is none the worse for them."""
_UNKNOWN = frozenset({"dependencies", "$recursiveRef", "$anchor", "$dynamicAnchor"})
"""Words of other drafts, which would be passed over in silence, and other ways to refer."""
_VALUES = frozenset({"const", "default", "enum", "examples", "required"})
"""Keywords that hold no schema."""
_BY_NAME = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold a schema under each name."""
_ALIKE = ("allOf", "anyOf", "oneOf")
_ONE = ("not", "if", "then", "else")
_MOST_PARTS = 400
"""Of a schema, some 40 ms to look through the first time."""

_Schema = Mapping[str, Any]


def uncheckable(schema: _Schema) -> str | None:
    """Return what is in the way of telling for certain whether an answer keeps to `schema`."""
    try:
        return _why(orjson.dumps(schema))
    except TypeError:
        return "is nested too deep"


@lru_cache(256)
def _why(written: bytes) -> str | None:
    schema = orjson.loads(written)
    parts = []
    for part in _parts(schema):
        parts.append(part)
        if len(parts) > _MOST_PARTS:
            return f"has more than {_MOST_PARTS} parts"
        for name in part:
            if name in _UNKNOWN or (name in FOREIGN and name not in _REMARKS):
                return f"has {name}, which cannot be checked"
        if "$id" in part and part is not schema:
            return "has $id in one of its parts, which cannot be checked"
        if "$ref" in part and _target(schema, part["$ref"]) is None:
            return f"refers to {str(part['$ref'])[:64]!r}, which is not in it"
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError):
        return "is no JSON schema"
    return "refers to itself in a circle" if _is_circular(schema, parts) else None


def _parts(schema: _Schema) -> Iterator[_Schema]:
    """Yield the schema and all schemas in it."""
    left: list[Any] = [schema]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        if not isinstance(one, dict):
            continue
        yield one
        for name, value in one.items():
            if name in _BY_NAME and isinstance(value, dict):
                left += value.values()
            elif name not in _VALUES:
                left.append(value)


def _target(schema: _Schema, pointer: Any) -> Any:
    """Return what a JSON pointer within the schema leads to, None where it leads nowhere."""
    if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
        return None
    found: Any = schema
    for word in pointer[1:].split("/")[1:]:
        name = unquote(word).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isascii() and name.isdecimal():
            found = found[int(name)] if int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict | bool) else None


def _is_circular(schema: _Schema, parts: list[_Schema]) -> bool:
    """Return whether checking one value would come back to where it began."""
    under_way: set[int] = set()
    done: set[int] = set()

    def visit(part: Any) -> bool:
        if not isinstance(part, dict) or id(part) in done:
            return False
        if id(part) in under_way:
            return True
        under_way.add(id(part))
        found = any(visit(one) for one in _of_the_same_value(schema, part))
        under_way.discard(id(part))
        done.add(id(part))
        return found

    return any(visit(part) for part in parts)


def _of_the_same_value(schema: _Schema, part: _Schema) -> Iterator[Any]:
    """Yield the schemas that a part applies to the very value that it is applied to."""
    if "$ref" in part:
        yield _target(schema, part["$ref"])
    for name in _ALIKE:
        yield from part.get(name, ())
    for name in _ONE:
        yield part.get(name)
    yield from part.get("dependentSchemas", {}).values()
