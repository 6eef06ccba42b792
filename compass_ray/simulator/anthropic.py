"""Anthropic's wire: messages and the model list.

Source: the anthropic SDK 2.x and https://docs.anthropic.com/en/api/messages. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.simulator import body
from compass_ray.simulator.exchange import Ask, Call, Frame, Refused, Reply, Tool, Trouble, Usage
from compass_ray.simulator.tokens import count_request

NAME = "anthropic"
MODELS = ("sim-1", "claude-opus-5-5", "claude-haiku-5")

_MEDIA = frozenset({"image", "document"})
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def authenticate(headers: Mapping[str, str], _query: Mapping[str, str]) -> None:
    """Refuse a request without a key, with a revoked one, or without a version."""
    key = headers.get("x-api-key", "").strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not key and scheme.lower() == "bearer":
        key = token.strip()
    if not key:
        raise Refused(401, "authentication_error", "x-api-key header is required")
    if key.startswith("sk-revoked"):
        raise Refused(401, "authentication_error", "invalid x-api-key")
    if not headers.get("anthropic-version"):
        raise _invalid("anthropic-version: header is required")


def read(raw: bytes, _path: Mapping[str, str]) -> Ask:
    """Read a messages request."""
    told = body.load(raw)
    if told is None:
        raise _invalid("The request body is not valid JSON")
    for name in ("model", "messages", "max_tokens"):
        if told.get(name) is None:
            raise _invalid(f"{name}: Field required")
    max_tokens = body.whole(told["max_tokens"])
    if max_tokens is None:
        raise _invalid("max_tokens: Input should be a valid integer")
    if max_tokens < 1:
        raise _invalid("max_tokens: Input should be greater than or equal to 1")
    if not isinstance(told["model"], str):
        raise _invalid("model: Input should be a valid string")
    _check_messages(told["messages"])
    tools = _tools(told.get("tools"))
    texts = [*body.texts(told.get("system")), *body.texts(told["messages"])]
    definitions = [body.dumps(one) for one in told.get("tools") or ()]
    return Ask(
        told["model"],
        "\n".join(texts),
        count_request([*texts, *definitions], body.media(told["messages"], _MEDIA)),
        stream=told.get("stream") is True,
        max_tokens=max_tokens,
        tools=tools,
        forced=_forced(told.get("tool_choice"), tools),
        schema=_schema(told.get("output_config")),
        after_tool=_holds_result(told["messages"][-1]["content"]),
    )


def whole(_ask: Ask, reply: Reply) -> bytes:
    """Write the answer in one piece."""
    choice = reply.choices[0]
    content: list[dict[str, Any]] = [
        {**_tool_use(call), "input": body.load(call.arguments.encode()) or {}}
        for call in choice.calls
    ] or [{"type": "text", "text": choice.text}]
    message = {
        **_message(reply),
        "content": content,
        "stop_reason": _STOPS[choice.finish] if reply.finished else None,
    }
    if reply.usage is not None:
        message["usage"] = _usage(reply.usage, reply.usage.output_tokens)
    return orjson.dumps(message)


def frames(_ask: Ask, reply: Reply) -> Iterator[Frame]:
    """Write the answer as server-sent events, one token each."""
    choice = reply.choices[0]
    message = _message(reply)
    if reply.usage is not None:
        message["usage"] = _usage(reply.usage, 1)
    yield _event({"type": "message_start", "message": message})
    if choice.calls:
        for n, call in enumerate(choice.calls):
            yield from _block(n, _tool_use(call), ("input_json_delta", "partial_json"), call.tokens)
    else:
        text = {"type": "text", "text": ""}
        yield from _block(0, text, ("text_delta", "text"), choice.tokens)
    stop = _STOPS[choice.finish] if reply.finished else None
    ended: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": None},
    }
    if reply.usage is not None:
        ended["usage"] = {"output_tokens": reply.usage.output_tokens}
    yield _event(ended)
    if reply.done:
        yield _event({"type": "message_stop"})


def error(trouble: Trouble, request_id: str) -> bytes:
    """Write an error in Anthropic's shape.

    A kind that is none of its error types stands in the details, as its error codes do.
    """
    usual = "api_error" if trouble.status >= 500 else "invalid_request_error"  # noqa: PLR2004
    kind = _KINDS.get(trouble.status, usual)
    told: dict[str, Any] = {"type": kind, "message": trouble.message}
    if trouble.kind in _KINDS.values():
        told["type"] = trouble.kind
    elif trouble.kind:
        told["details"] = {"error_code": trouble.kind}
    return orjson.dumps({"type": "error", "error": told, "request_id": f"req_{request_id}"})


def error_event(document: bytes) -> bytes:
    """Write an error inside a stream."""
    return b"event: error\ndata: " + document + b"\n\n"


def headers(ask: Ask | None, request_id: str) -> dict[str, str]:
    """Return what Anthropic says beside an answer."""
    told = {"request-id": f"req_{request_id}", "anthropic-organization-id": "simulated"}
    if ask is not None:
        for what, limit, used in (
            ("requests", 4_000, 1),
            ("input-tokens", 2_000_000, ask.input_tokens),
            ("output-tokens", 400_000, 0),
        ):
            told[f"anthropic-ratelimit-{what}-limit"] = str(limit)
            told[f"anthropic-ratelimit-{what}-remaining"] = str(max(0, limit - used))
            told[f"anthropic-ratelimit-{what}-reset"] = "2026-01-01T00:00:00Z"
    return told


def models() -> bytes:
    """Write the list of models."""
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2026-01-01T00:00:00Z",
            "lifecycle": "active",
        }
        for name in MODELS
    ]
    ends = {"first_id": MODELS[0], "last_id": MODELS[-1]}
    return orjson.dumps({"data": data, "has_more": False, **ends})


def _invalid(message: str) -> Refused:
    return Refused(400, "invalid_request_error", message)


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise _invalid("messages: Input should be a valid list")
    if not messages:
        raise _invalid("messages: at least one message is required")
    for n, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _invalid(f"messages.{n}: Input should be a valid dictionary")
        if message.get("role") not in ("user", "assistant", "system"):
            raise _invalid(f"messages.{n}.role: Input should be 'user' or 'assistant'")
        if message.get("content") is None:
            raise _invalid(f"messages.{n}.content: Field required")


def _tools(told: Any) -> tuple[Tool, ...]:
    if not isinstance(told, list | None):
        raise _invalid("tools: Input should be a valid list")
    found = []
    for n, one in enumerate(told or ()):
        if not isinstance(one, dict) or not one.get("name"):
            raise _invalid(f"tools.{n}.custom.name: Field required")
        if one.get("type", "custom") == "custom" and "input_schema" not in one:
            raise _invalid(f"tools.{n}.custom.input_schema: Field required")
        found.append(body.tool(one["name"], one.get("input_schema")))
    return tuple(found)


def _forced(choice: Any, tools: tuple[Tool, ...]) -> Tool | None:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("any", "tool"):
        return None
    if not tools:
        raise _invalid("tool_choice may only be specified while providing tools.")
    if kind == "any":
        return tools[0]
    for tool in tools:
        if tool.name == choice.get("name"):
            return tool
    raise _invalid(f"Tool '{choice.get('name')}' not found in provided tools")


def _schema(output_config: Any) -> Mapping[str, Any] | None:
    told = output_config.get("format") if isinstance(output_config, dict) else None
    if not isinstance(told, dict):
        return None
    if not isinstance(told.get("schema"), dict):
        raise _invalid("output_config.format.schema: Field required")
    schema: Mapping[str, Any] = told["schema"]
    return schema


def _message(reply: Reply) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _holds_result(content: Any) -> bool:
    blocks = content if isinstance(content, list) else ()
    return any(isinstance(one, dict) and one.get("type") == "tool_result" for one in blocks)


def _block(
    index: int, begun: dict[str, Any], named: tuple[str, str], tokens: tuple[str, ...]
) -> Iterator[Frame]:
    """Write one block of the content; `named`: a delta's type, and its field of a token."""
    kind, field = named
    yield _event({"type": "content_block_start", "index": index, "content_block": begun})
    if index == 0:
        yield _event({"type": "ping"})
    for token in tokens:
        delta = {"type": kind, field: token}
        yield _event({"type": "content_block_delta", "index": index, "delta": delta}, tokens=1)
    yield _event({"type": "content_block_stop", "index": index})


def _tool_use(call: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.tool, "input": {}}


def _usage(usage: Usage, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _event(document: dict[str, Any], tokens: int = 0) -> Frame:
    name = str(document["type"]).encode()
    return Frame(b"event: " + name + b"\ndata: " + orjson.dumps(document) + b"\n\n", tokens)
