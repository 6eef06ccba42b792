"""Whether an answer has the form that its request demands: JSON, a schema, calls of known tools.

Schemas are the callers' own, and so are their traps. A check takes a bounded number of steps; what
would need a regular expression, or a schema from elsewhere, is not looked at; a schema that is
none, or too much to check, condemns nobody's answer. Whether one can be checked at all is
`policy.checkable`'s. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from compass_ray.policy.checkable import FOREIGN

__all__ = ["UNCHECKED", "Flaw", "flaw_by_schema", "flaw_of_calls", "flaw_of_text"]

Flaw = str
"""What is wrong, in a few words."""

UNCHECKED: frozenset[Flaw] = frozenset(
    {"is too long to be checked", "cannot be checked against its schema"}
)
"""Nobody knows whether anything is."""

_STEPS = 5_000
"""Keywords of a schema that are applied to one answer at most: some 30 ms."""
_STEPS_TO_VOUCH = 4 * _STEPS
_VALUES_A_STEP = 32
"""So many values or names of a keyword are looked at in the time of a step."""
_MOST_CHARS = 1_000_000


class _TooMuch(Exception):
    """The check takes more steps than it may."""


def flaw_of_text(text: str, response_format: Mapping[str, Any] | None) -> Flaw | None:
    """Return what keeps `text` from being what `response_format` asks for; None: it is."""
    kind = "text" if response_format is None else response_format.get("type")
    if kind not in {"json_object", "json_schema"} or len(text) > _MOST_CHARS:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "is not JSON"
    if kind == "json_object":
        return None if isinstance(value, dict) else "is JSON, and no object"
    schema = _mapping(_mapping(response_format).get("json_schema")).get("schema")
    return _against(schema, value)


def flaw_by_schema(text: str, schema: Mapping[str, Any]) -> Flaw | None:
    """Return what keeps `text` from being JSON by `schema`; what takes too long to check does."""
    if len(text) > _MOST_CHARS:
        return "is too long to be checked"
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "is not JSON"
    try:
        return _first_flaw(schema, value, _STEPS_TO_VOUCH)
    except Exception:  # noqa: BLE001  # a schema that is none was refused before; this vouches
        return "cannot be checked against its schema"


def flaw_of_calls(calls: Sequence[Any], body: Mapping[str, Any]) -> Flaw | None:
    """Return what is wrong with an answer's `tool_calls` for the request `body`; None: nothing."""
    schemas = _schemas(body)
    choice = body.get("tool_choice")
    if not calls:
        forced = choice == "required" or (isinstance(choice, Mapping) and "function" in choice)
        return "calls no tool, though it has to" if forced else None
    for call in calls:
        function = _mapping(_mapping(call).get("function"))
        name, told = function.get("name"), function.get("arguments")
        if name not in schemas:
            return f"calls a tool that is not there: {str(name)[:64]!r}"
        if not isinstance(told, str) or len(told) > _MOST_CHARS:
            continue
        try:
            arguments = orjson.loads(told or "{}")
        except orjson.JSONDecodeError:
            return f"the arguments of {name!r} are not JSON"
        if flaw := _against(schemas[name], arguments):
            return f"the arguments of {name!r}: {flaw}"
    return None


def _schemas(body: Mapping[str, Any]) -> dict[Any, Any]:
    """Return the schema of each tool's arguments; tools of other kinds take anything."""
    listed = [_mapping(tool) for tool in body.get("tools") or ()]
    functions = [_mapping(one.get(str(one.get("type")))) for one in listed]
    functions += [_mapping(one) for one in body.get("functions") or ()]
    return {one.get("name"): one.get("parameters") for one in functions}


def _against(schema: Any, value: Any) -> Flaw | None:
    if not isinstance(schema, dict):
        return None
    try:
        return _first_flaw(schema, value, _STEPS)
    except Exception:  # noqa: BLE001  # whatever a foreign schema does, it is no answer's flaw
        return None


def _first_flaw(schema: Mapping[str, Any], value: Any, steps: int) -> Flaw | None:
    error = next(iter(_validator(schema, steps).iter_errors(value)), None)
    if error is None:
        return None
    where = error.json_path.removeprefix("$").removeprefix(".")[:64]
    return f"breaks its schema ({error.validator}{f' of {where}' if where else ''})"


def _validator(schema: Mapping[str, Any], steps: int) -> Any:
    """Return a validator that fetches nothing, and gives up after so many steps."""
    left = [steps]

    def counted(check: Any) -> Any:
        def count(
            validator: Any, argument: Any, instance: Any, among: Any
        ) -> Iterator[ValidationError]:
            left[0] -= 1 + _size(argument) // _VALUES_A_STEP
            if left[0] < 0:
                raise _TooMuch
            yield from check(validator, argument, instance, among) or ()

        return count

    checks = {
        name: counted(check)
        for name, check in Draft202012Validator.VALIDATORS.items()
        if name not in FOREIGN
    }
    checks["additionalProperties"] = counted(_additional)
    bounded = extend(Draft202012Validator, dict.fromkeys(FOREIGN, _nothing) | checks)
    return bounded(schema, registry=Registry())


def _size(argument: Any) -> int:
    return len(argument) if isinstance(argument, list | dict | str) else 0


def _additional(
    validator: Any, argument: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Check `additionalProperties` where no expressions say which those are."""
    if "patternProperties" in schema or not isinstance(instance, dict):
        return
    for name, value in instance.items():
        if name in schema.get("properties", {}):
            continue
        if argument is False:
            yield ValidationError("not foreseen")
        elif isinstance(argument, dict):
            yield from validator.descend(value, argument, path=name)


def _nothing(*_asked: Any) -> Iterator[ValidationError]:
    return iter(())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
