"""Reads a chat completion request as OpenAI does, and says what is wrong with it. Pure."""

from collections.abc import Mapping
from typing import Any

from compass_ray.simulator import body
from compass_ray.simulator.exchange import Ask, Refused, Tool
from compass_ray.simulator.tokens import count_request

_MEDIA = frozenset({"image_url", "input_audio", "file"})


def read(raw: bytes, _path: Mapping[str, str]) -> Ask:
    """Read a chat completion request."""
    told, model = opened(raw)
    _check_messages(told.get("messages"))
    tools = _tools(told.get("tools"))
    messages = list(body.texts(told["messages"]))
    definitions = [body.dumps(one) for one in told.get("tools") or ()]
    options = told.get("stream_options")
    return Ask(
        model,
        "\n".join(messages),
        count_request([*messages, *definitions], body.media(told["messages"], _MEDIA)),
        stream=told.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=_max_tokens(told),
        choices=_at_least_one(told, "n", 128) or 1,
        tools=tools,
        forced=_forced(told.get("tool_choice"), tools),
        schema=_schema(told.get("response_format")),
        after_tool=told["messages"][-1]["role"] == "tool",
        tier="flex" if told.get("service_tier") == "flex" else "default",
    )


def opened(raw: bytes) -> tuple[dict[str, Any], str]:
    """Return any request's body and its model."""
    told = body.load(raw)
    if told is None:
        raise invalid("We could not parse the JSON body of your request.", None)
    model = told.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter", None)
    return told, model


def invalid(message: str, param: str | None, code: str = "") -> Refused:
    """Return a refusal of the request."""
    return Refused(400, code, message, param)


def _check_messages(messages: Any) -> None:
    if messages is None:
        raise invalid(
            "Missing required parameter: 'messages'.", "messages", "missing_required_parameter"
        )
    if not isinstance(messages, list):
        raise invalid(
            "Invalid type for 'messages': expected an array of objects.", "messages", "invalid_type"
        )
    if not messages:
        raise invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "messages",
            "empty_array",
        )
    roles = ("system", "developer", "user", "assistant", "tool", "function")
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in roles:
            raise invalid(
                f"Invalid value for 'messages[{n}].role'. Supported values are: "
                + ", ".join(f"'{role}'" for role in roles),
                f"messages[{n}].role",
                "invalid_value",
            )


def _max_tokens(told: Mapping[str, Any]) -> int | None:
    old = _at_least_one(told, "max_tokens")
    new = _at_least_one(told, "max_completion_tokens")
    if old is not None and new is not None:
        raise invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    return old if new is None else new


def _at_least_one(told: Mapping[str, Any], name: str, most: int | None = None) -> int | None:
    if told.get(name) is None:
        return None
    number = body.whole(told[name])
    if number is None:
        raise invalid(
            f"Invalid type for '{name}': expected an integer, but got {told[name]!r} instead.",
            name,
            "invalid_type",
        )
    if number < 1:
        raise invalid(
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got "
            f"{number} instead.",
            name,
            "integer_below_min_value",
        )
    if most is not None and number > most:
        raise invalid(
            f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got "
            f"{number} instead.",
            name,
            "integer_above_max_value",
        )
    return number


def _tools(told: Any) -> tuple[Tool, ...]:
    if not isinstance(told, list | None):
        raise invalid(
            "Invalid type for 'tools': expected an array of objects.", "tools", "invalid_type"
        )
    found = []
    for n, one in enumerate(told or ()):
        function = one.get("function") if isinstance(one, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise invalid(
                f"Missing required parameter: 'tools[{n}].function.name'.",
                f"tools[{n}].function.name",
                "missing_required_parameter",
            )
        found.append(body.tool(function["name"], function.get("parameters")))
    return tuple(found)


def _forced(choice: Any, tools: tuple[Tool, ...]) -> Tool | None:
    if choice in (None, "none", "auto"):
        return None
    if not tools:
        raise invalid(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
            "specified.",
            "tool_choice",
        )
    if choice == "required":
        return tools[0]
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return tools[0] if choice.get("allowed_tools", {}).get("mode") == "required" else None
    name = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    for tool in tools:
        if tool.name == name:
            return tool
    raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


def _schema(response_format: Any) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if response_format.get("type") != "json_schema":
        return None
    schema = (response_format.get("json_schema") or {}).get("schema")
    if not isinstance(schema, dict):
        raise invalid(
            "Missing required parameter: 'response_format.json_schema.schema'.",
            "response_format.json_schema.schema",
            "missing_required_parameter",
        )
    return schema
