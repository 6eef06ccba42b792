"""The fields of a chat-completions body that Compass has an opinion of, and their checks. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compass_ray.types.errors import InvalidRequest

_MAX_NAME = 256
_MAX_STOPS = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for at most."""

    body_bytes: int = 20 * 1024 * 1024
    messages: int = 10_000
    tools: int = 128
    choices: int = 8
    output_tokens: int = 131_072
    inputs: int = 2_048


_Check = Callable[[str, Any, Limits], None]


def _boolean(name: str, value: Any, _limits: Limits) -> None:
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false", param=name)


def _string(name: str, value: Any, _limits: Limits) -> None:
    if not isinstance(value, str) or len(value) > _MAX_NAME:
        raise InvalidRequest(
            f"{name} must be a string of at most {_MAX_NAME} characters", param=name
        )


def _number(low: float, high: float) -> _Check:
    def check(name: str, value: Any, _limits: Limits) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRequest(f"{name} must be a number", param=name)
        if not low <= value <= high:
            raise InvalidRequest(f"{name} must lie between {low:g} and {high:g}", param=name)

    return check


def _count(low: int, limit: str) -> _Check:
    def check(name: str, value: Any, limits: Limits) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidRequest(f"{name} must be an integer", param=name)
        high = getattr(limits, limit)
        if not low <= value <= high:
            raise InvalidRequest(f"{name} must lie between {low} and {high}", param=name)

    return check


def _stop(name: str, value: Any, _limits: Limits) -> None:
    stops = value if isinstance(value, list) else [value]
    if len(stops) > _MAX_STOPS or not all(isinstance(stop, str) for stop in stops):
        raise InvalidRequest(
            f"{name} must be a string or an array of at most {_MAX_STOPS} strings", param=name
        )


def _tools(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, list):
        raise InvalidRequest(f"{name} must be an array", param=name)
    if len(value) > limits.tools:
        raise InvalidRequest(f"{name} holds more than {limits.tools} entries", param=name)
    for index, tool in enumerate(value):
        where = f"{name}[{index}]"
        function = tool if name == "functions" else _tool_function(tool, where)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidRequest(f"{where} must name its function", param=where)
        if not isinstance(function.get("parameters", {}), dict):
            raise InvalidRequest(
                f"{where}.parameters must be a JSON schema", param=f"{where}.parameters"
            )


def _tool_function(tool: Any, where: str) -> Any:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise InvalidRequest(f"{where}.type must be a string", param=f"{where}.type")
    kind = tool["type"]
    return tool.get(kind)


def _response_format(name: str, value: Any, _limits: Limits) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("text", "json_object", "json_schema"):  # may be unhashable
        raise InvalidRequest(
            f"{name}.type must be text, json_object or json_schema", param=f"{name}.type"
        )
    if kind == "json_schema":
        schema = value.get("json_schema")
        if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
            raise InvalidRequest(
                f"{name}.json_schema must be an object with a name", param=f"{name}.json_schema"
            )


def _object(name: str, value: Any, _limits: Limits) -> None:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} must be an object", param=name)


CHECKS: Mapping[str, _Check] = {
    "model": _string,
    "stream": _boolean,
    "stream_options": _object,
    "max_tokens": _count(1, "output_tokens"),
    "max_completion_tokens": _count(1, "output_tokens"),
    "n": _count(1, "choices"),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "top_logprobs": _number(0, 20),
    "seed": _number(-(2**63), 2**63 - 1),
    "logprobs": _boolean,
    "logit_bias": _object,
    "metadata": _object,
    "parallel_tool_calls": _boolean,
    "reasoning_effort": _string,
    "response_format": _response_format,
    "service_tier": _string,
    "stop": _stop,
    "tools": _tools,
    "functions": _tools,
    "user": _string,
}
"""Field name to check; None counts as absent, as it does for OpenAI."""
