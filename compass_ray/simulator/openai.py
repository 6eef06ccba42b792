"""OpenAI's wire: chat completions and the model list.

Source: the openai SDK 3.x and https://platform.openai.com/docs/api-reference/chat. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.simulator import body
from compass_ray.simulator.exchange import Ask, Choice, Frame, Refused, Reply, Tool, Trouble, Usage
from compass_ray.simulator.tokens import count_request

NAME = "openai"
MODELS = ("sim-1", "gpt-6", "gpt-6-mini")

_CREATED = 1_790_000_000  # a fixed time: the same seed gives the same bytes
_MEDIA = frozenset({"image_url", "input_audio", "file"})
_TYPES = {
    "insufficient_quota": "insufficient_quota",
    "rate_limit_exceeded": "requests",
    "tokens_exceeded": "tokens",
    "server_error": "server_error",
    "overloaded": "server_error",
}
_KINDS = {
    401: "invalid_api_key",
    403: "unsupported_country_region_territory",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    500: "server_error",
    502: "server_error",
    503: "overloaded",
}


def authenticate(headers: Mapping[str, str], _query: Mapping[str, str]) -> None:
    """Refuse a request without a key or with a revoked one."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise Refused(
            401,
            "",
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    if key.startswith("sk-revoked"):
        shown = f"{key[:10]}{'*' * 8}{key[-4:]}"
        raise Refused(
            401,
            "invalid_api_key",
            f"Incorrect API key provided: {shown}. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
        )


def read(raw: bytes, _path: Mapping[str, str]) -> Ask:
    """Read a chat completion request."""
    told = body.load(raw)
    if told is None:
        raise _invalid("We could not parse the JSON body of your request.", None)
    model = told.get("model")
    if not isinstance(model, str) or not model:
        raise _invalid("you must provide a model parameter", None)
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
    )


def whole(reply: Reply) -> bytes:
    """Write the answer in one piece."""
    choices = [
        {
            "index": index,
            "message": _message(choice),
            "logprobs": None,
            "finish_reason": choice.finish if reply.finished else None,
        }
        for index, choice in enumerate(reply.choices)
    ]
    document = {**_head(reply, "chat.completion"), "choices": choices, "service_tier": "default"}
    if reply.usage is not None:
        document["usage"] = _usage(reply.usage)
    return orjson.dumps(document)


def frames(ask: Ask, reply: Reply) -> Iterator[Frame]:
    """Write the answer as server-sent events, one token each."""
    head = _head(reply, "chat.completion.chunk")
    if ask.include_usage:
        head["usage"] = None

    def event(index: int, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [choice]})

    for index, choice in enumerate(reply.choices):
        yield Frame(event(index, _first_delta(choice)))
        for token in choice.tokens:
            yield Frame(event(index, _delta(choice, token)), tokens=1)
        if reply.finished:
            yield Frame(event(index, {}, choice.finish))
    if ask.include_usage and reply.usage is not None:
        yield Frame(_data({**head, "choices": [], "usage": _usage(reply.usage)}))
    if reply.done:
        yield Frame(b"data: [DONE]\n\n")


def error(trouble: Trouble, _request_id: str) -> bytes:
    """Write an error in OpenAI's shape; no kind is the usual one of the status, "" is none."""
    code = trouble.kind
    if code is None:
        code = _KINDS.get(trouble.status, "")
    usual = "server_error" if trouble.status >= 500 else "invalid_request_error"  # noqa: PLR2004
    return orjson.dumps(
        {
            "error": {
                "message": trouble.message,
                "type": _TYPES.get(code, usual),
                "param": trouble.param,
                "code": code or None,
            }
        }
    )


def error_event(document: bytes) -> bytes:
    """Write an error inside a stream."""
    return b"data: " + document + b"\n\n"


def headers(ask: Ask | None, request_id: str) -> dict[str, str]:
    """Return what OpenAI says beside an answer."""
    told = {
        "x-request-id": f"req_{request_id}",
        "openai-version": "2020-10-01",
        "openai-organization": "simulated",
        "openai-processing-ms": "1",
    }
    if ask is not None:
        told |= {
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-tokens": str(max(0, 2_000_000 - ask.input_tokens)),
            "x-ratelimit-reset-tokens": "1ms",
        }
    return told


def models() -> bytes:
    """Write the list of models."""
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}
                for name in MODELS
            ],
        }
    )


def _invalid(message: str, param: str | None, code: str = "") -> Refused:
    return Refused(400, code, message, param)


def _check_messages(messages: Any) -> None:
    if messages is None:
        raise _invalid(
            "Missing required parameter: 'messages'.", "messages", "missing_required_parameter"
        )
    if not isinstance(messages, list):
        raise _invalid(
            "Invalid type for 'messages': expected an array of objects.", "messages", "invalid_type"
        )
    if not messages:
        raise _invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "messages",
            "empty_array",
        )
    roles = ("system", "developer", "user", "assistant", "tool", "function")
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in roles:
            raise _invalid(
                f"Invalid value for 'messages[{n}].role'. Supported values are: "
                + ", ".join(f"'{role}'" for role in roles),
                f"messages[{n}].role",
                "invalid_value",
            )


def _max_tokens(told: Mapping[str, Any]) -> int | None:
    old = _at_least_one(told, "max_tokens")
    new = _at_least_one(told, "max_completion_tokens")
    if old is not None and new is not None:
        raise _invalid(
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
        raise _invalid(
            f"Invalid type for '{name}': expected an integer, but got {told[name]!r} instead.",
            name,
            "invalid_type",
        )
    if number < 1:
        raise _invalid(
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got "
            f"{number} instead.",
            name,
            "integer_below_min_value",
        )
    if most is not None and number > most:
        raise _invalid(
            f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got "
            f"{number} instead.",
            name,
            "integer_above_max_value",
        )
    return number


def _tools(told: Any) -> tuple[Tool, ...]:
    if not isinstance(told, list | None):
        raise _invalid(
            "Invalid type for 'tools': expected an array of objects.", "tools", "invalid_type"
        )
    found = []
    for n, one in enumerate(told or ()):
        function = one.get("function") if isinstance(one, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise _invalid(
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
        raise _invalid(
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
    raise _invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


def _schema(response_format: Any) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if response_format.get("type") != "json_schema":
        return None
    schema = (response_format.get("json_schema") or {}).get("schema")
    if not isinstance(schema, dict):
        raise _invalid(
            "Missing required parameter: 'response_format.json_schema.schema'.",
            "response_format.json_schema.schema",
            "missing_required_parameter",
        )
    return schema


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": kind,
        "created": _CREATED + reply.number,
        "model": reply.model,
        "system_fingerprint": "fp_simulated",
    }


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool is not None:
        message["content"] = None
        function = {"name": choice.tool, "arguments": choice.text}
        call_id = f"call_{choice.call_id}"
        message["tool_calls"] = [{"id": call_id, "type": "function", "function": function}]
    return message


def _first_delta(choice: Choice) -> dict[str, Any]:
    if choice.tool is None:
        return {"role": "assistant", "content": "", "refusal": None}
    call = {
        "index": 0,
        "id": f"call_{choice.call_id}",
        "type": "function",
        "function": {"name": choice.tool, "arguments": ""},
    }
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _delta(choice: Choice, token: str) -> dict[str, Any]:
    if choice.tool is None:
        return {"content": token}
    return {"tool_calls": [{"index": 0, "function": {"arguments": token}}]}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _data(document: Any) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"
