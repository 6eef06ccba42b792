"""Reads a script from YAML or JSON; an error names the key. Pure but for the file itself."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml

from compass_ray.simulator.script import (
    Behaviour,
    Failure,
    Fault,
    FaultName,
    Match,
    Provider,
    RetryAfter,
    Rule,
    Script,
    ToolCall,
)

T = TypeVar("T")
Reader = Callable[[Any, str], T]

_COUNTED = ("cut_after_chunks", "cut_after_bytes", "stall_after_chunks")
_HUGE = 32 * 1024 * 1024
_MAX_TOKENS = 1_000_000
_MAX_SECONDS = 86_400.0


class BadScript(ValueError):
    """A script that cannot be followed; the message begins with the key at fault."""


def read_file(path: Path) -> Script:
    """Read a script file; JSON is YAML.

    Raises:
        BadScript: the file cannot be read, or says what no script can.
    """
    try:
        return read(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise BadScript(f"{path}: {exc}") from exc


def read(document: Any) -> Script:
    """Read `{rules: [{match: {...}, then: {...}}, ...]}`, or the list alone.

    Raises:
        BadScript: a key is unknown or its value is not what it takes.
    """
    if document is None:
        return ()
    if isinstance(document, Mapping):
        document = _fields(document, "script", {"rules": _anything}).get("rules", [])
    if not isinstance(document, list):
        raise BadScript(f"script: takes a list of rules, not {document!r}")
    return tuple(_rule(rule, f"rules[{n}]") for n, rule in enumerate(document))


def _rule(value: Any, key: str) -> Rule:
    told = _fields(value, key, {"match": _match, "then": _then})
    return Rule(told.get("match", Match()), told.get("then", Behaviour()))


def _match(value: Any, key: str) -> Match:
    return Match(
        **_fields(
            value or {},
            key,
            {
                "provider": _one_of(get_args(Provider)),
                "model": _text,
                "contains": _text,
                "after_tool": _flag,
                "busier_than": _whole(0, _MAX_TOKENS),
                "nth": _nth,
                "probability": _number(1.0),
            },
        )
    )


def _then(value: Any, key: str) -> Behaviour:
    return Behaviour(
        **_fields(
            value or {},
            key,
            {
                "ttft_s": _number(_MAX_SECONDS),
                "tpot_s": _number(_MAX_SECONDS),
                "error": _error,
                "fault": _fault,
                "tokens": _whole(0, _MAX_TOKENS),
                "ignore_max_tokens": _flag,
                "text": _text,
                "tool_call": _tool_calls,
                "headers": _headers,
            },
        )
    )


def _headers(value: Any, key: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise BadScript(f"{key}: must be a mapping")
    names = [(_line(str(name), key).lower(), told) for name, told in value.items()]
    return tuple((name, _line(str(told), f"{key}.{name}")) for name, told in names)


def _error(value: Any, key: str) -> Failure:
    readers: dict[str, Reader[Any]] = {
        "status": _whole(400, 599),
        "kind": _text,
        "message": _text,
        "retry_after": _retry_after,
    }
    told = {"status": value} if isinstance(value, int) else value
    fields = _fields(told, key, readers)
    if "status" not in fields:
        raise BadScript(f"{key}.status: is missing")
    return Failure(**fields)


def _retry_after(value: Any, key: str) -> RetryAfter:
    """Read a number or text for the header as it is, or {ms: n}, {date: n} or {retry_info: s}."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return RetryAfter("header", _line(str(value), key))
    told = _fields(value, key, {"ms": _finite, "date": _finite, "retry_info": _text})
    if len(told) != 1:
        raise BadScript(f"{key}: takes one of ms, date and retry_info")
    ((form, amount),) = told.items()
    return RetryAfter(form, _line(str(amount), key))  # type: ignore[arg-type]  # read above


def _fault(value: Any, key: str) -> Fault:
    """Read a name, or {name: amount} with `seconds` beside a stall."""
    if isinstance(value, str):
        name, told = value, {}
    elif isinstance(value, Mapping):
        told = dict(value)
        names = [one for one in told if one != "seconds"]
        if len(names) != 1:
            raise BadScript(f"{key}: takes one fault, not {names}")
        name = str(names[0])
    else:
        raise BadScript(f"{key}: takes a fault, not {value!r}")
    fault: FaultName = _one_of(get_args(FaultName))(name, key)
    amount, seconds = told.get(name), told.get("seconds")
    if amount is None and fault in _COUNTED:
        raise BadScript(f"{key}.{name}: takes a number")
    if amount is not None and fault not in (*_COUNTED, "huge_line"):
        raise BadScript(f"{key}.{name}: takes no number")
    if (seconds is not None) != (fault == "stall_after_chunks"):
        raise BadScript(f"{key}.seconds: belongs to stall_after_chunks, and only there")
    return Fault(
        fault,
        _whole(0, 2**40)(_HUGE if amount is None else amount, f"{key}.{name}"),
        _number(_MAX_SECONDS)(seconds or 0, f"{key}.seconds"),
    )


def _tool_calls(value: Any, key: str) -> tuple[ToolCall, ...]:
    """Read one call or a list of them."""
    if isinstance(value, list):
        return tuple(_tool_call(one, f"{key}[{n}]") for n, one in enumerate(value))
    return (_tool_call(value, key),)


def _tool_call(value: Any, key: str) -> ToolCall:
    told = {"name": value} if isinstance(value, str) else value
    fields = _fields(told, key, {"name": _text, "arguments": _arguments})
    if "name" not in fields:
        raise BadScript(f"{key}.name: is missing")
    return ToolCall(**fields)


def _arguments(value: Any, key: str) -> dict[str, Any] | str:
    if isinstance(value, dict | str):
        return value
    raise BadScript(f"{key}: takes an object or a text, not {value!r}")


def _nth(value: Any, key: str) -> tuple[int, ...]:
    numbers = value if isinstance(value, list) else [value]
    return tuple(_whole(1, 2**40)(number, key) for number in numbers)


def _fields(value: Any, key: str, readers: Mapping[str, Reader[Any]]) -> dict[str, Any]:
    """Read an object by its fields' readers; a field that is null is left out."""
    if not isinstance(value, Mapping):
        raise BadScript(f"{key}: takes an object, not {value!r}")
    for name in value:
        if name not in readers:
            raise BadScript(f"{key}.{name}: is unknown; known: {', '.join(readers)}")
    return {
        name: readers[name](inner, f"{key}.{name}")
        for name, inner in value.items()
        if inner is not None
    }


def _anything(value: Any, _key: str) -> Any:
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise BadScript(f"{key}: takes a text, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise BadScript(f"{key}: {exc.reason}") from exc
    return value


def _line(value: str, key: str) -> str:
    """Take what may stand in a header."""
    if value.isascii() and value.isprintable():
        return value
    raise BadScript(f"{key}: takes one line of ASCII, not {value!r}")


def _flag(value: Any, key: str) -> bool:
    if isinstance(value, bool):
        return value
    raise BadScript(f"{key}: takes true or false, not {value!r}")


def _finite(value: Any, key: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise BadScript(f"{key}: takes a number, not {value!r}")


def _number(most: float) -> Reader[float]:
    def read_number(value: Any, key: str) -> float:
        if 0 <= _finite(value, key) <= most:
            return float(value)
        raise BadScript(f"{key}: takes a number from 0 to {most:g}, not {value!r}")

    return read_number


def _whole(least: int, most: int) -> Reader[int]:
    def read_whole(value: Any, key: str) -> int:
        if type(value) is int and least <= value <= most:
            return value
        raise BadScript(f"{key}: takes a whole number from {least} to {most}, not {value!r}")

    return read_whole


def _one_of(names: tuple[str, ...]) -> Reader[Any]:
    def read_name(value: Any, key: str) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise BadScript(f"{key}: takes one of {', '.join(names)}, not {value!r}")

    return read_name
