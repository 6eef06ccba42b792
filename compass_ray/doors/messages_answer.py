"""Writes answers of the normal form as Anthropic's messages. Pure.

Anthropic counts cache reads and writes beside `input_tokens`; the normal form includes them.
Thoughts of other providers have no signature: "", which `messages_conversation` does not pass on.
"""

from collections.abc import Mapping
from typing import Any

from compass_ray.doors.answers import (
    Call,
    calls_of,
    signed_by_anthropic,
    thought_of,
    usage_of,
)
from compass_ray.doors.errors import facts
from compass_ray.providers.anthropic_vocabulary import STATUSES, STOP_REASONS
from compass_ray.types.errors import CompassError
from compass_ray.types.usage import Usage

_FIRST_SERVER_ERROR = 500
_KINDS: Mapping[int, str] = {
    **{status: kind for kind, status in STATUSES.items()},
    503: "overloaded_error",
}


def write(
    body: Mapping[str, Any], charged: Usage | None, *, shows_thoughts: bool
) -> dict[str, Any]:
    """Return the message for a `chat.completion`."""
    choice = body["choices"][0]
    message = choice["message"]
    calls = calls_of(message)
    out: dict[str, Any] = {
        **envelope(body),
        "content": _blocks(message, calls, cut=choice.get("finish_reason") == "length"),
        **stop(choice, called=bool(calls)),
        "usage": usage(usage_of(body.get("usage"), charged)),
    }
    if not shows_thoughts:
        for block in out["content"]:
            if block["type"] == "thinking":
                block["thinking"] = ""
    return out


def envelope(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a message has besides content, stop and usage."""
    told = str(body.get("id") or "")
    message_id = told if told.startswith("msg_") else f"msg_{told.removeprefix('chatcmpl-')}"
    model = body.get("model") or ""
    return {"id": message_id, "type": "message", "role": "assistant", "model": model}


def stop(choice: Mapping[str, Any], *, called: bool) -> dict[str, Any]:
    """Return why the answer ends.

    OpenAI says `stop` where a call was forced. `stop_reason` is vLLM's word for the stop sequence
    that was met, and ours for Anthropic's.
    """
    finish, met = choice.get("finish_reason") or "stop", choice.get("stop_reason")
    if finish == "stop" and called:
        finish = "tool_calls"
    if finish == "stop" and isinstance(met, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": met}
    return {"stop_reason": STOP_REASONS.get(finish, "end_turn"), "stop_sequence": None}


def usage(used: Usage) -> dict[str, Any]:
    """Return Anthropic's `usage`."""
    cached, written = used.cached_input_tokens, used.cache_write_tokens
    return {
        "input_tokens": max(0, used.input_tokens - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": used.output_tokens,
        "output_tokens_details": {"thinking_tokens": used.reasoning_tokens},
    }


def error_body(error: CompassError, request_id: str) -> dict[str, Any]:
    """Return Anthropic's error object, with what Compass knows beside it."""
    usual = "invalid_request_error" if error.status < _FIRST_SERVER_ERROR else "api_error"
    told = {**facts(error, request_id), "type": _KINDS.get(error.status, usual)}
    return {"type": "error", "error": told, "request_id": request_id}


def tool_use(call: Call, value: dict[str, Any]) -> dict[str, Any]:
    """Return the block of a call; `extra_content` comes back from clients that keep it."""
    block: dict[str, Any] = {
        "type": "tool_use",
        "id": call.id,
        "name": call.name,
        "input": value,
    }
    if call.extra:
        block["extra_content"] = dict(call.extra)
    return block


def _blocks(message: Mapping[str, Any], calls: list[Call], *, cut: bool) -> list[dict[str, Any]]:
    blocks = [dict(block) for block in signed_by_anthropic(message)]
    thought = thought_of(message)
    if thought and not blocks:
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    said = (message.get("content"), message.get("refusal"))
    blocks += [{"type": "text", "text": text} for text in said if text]
    blocks += [tool_use(call, _partial(call) if cut else call.input()) for call in calls]
    return blocks


def _partial(call: Call) -> dict[str, Any]:
    """Return arguments that may be cut off: what `max_tokens` left of them cannot be an object."""
    try:
        return call.input()
    except CompassError:
        return {}
