"""Writes answers of the normal form as objects of OpenAI's Responses API. Pure."""

from collections.abc import Mapping
from typing import Any

from compass_ray.doors.answers import Call, calls_of, thought_of, usage_of
from compass_ray.doors.responses_input import packed
from compass_ray.doors.responses_request import SEALED
from compass_ray.types.usage import Usage

_ECHOED = (
    *("instructions", "max_output_tokens", "max_tool_calls", "prompt_cache_key", "reasoning"),
    *("safety_identifier", "service_tier", "temperature", "top_p", "user"),
)
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Envelope:
    """What a response says beside its output, from the request and the answer's first words."""

    def __init__(self, told: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        self._told = told
        self._body = body
        self.suffix = str(body.get("id") or "").removeprefix("chatcmpl-")
        self.seals = SEALED in (told.get("include") or ())

    def response(
        self,
        output: list[dict[str, Any]],
        *,
        finish: str | None = None,
        usage: Usage | None = None,
        status: str = "completed",
    ) -> dict[str, Any]:
        """Return the response with this output."""
        reason = _REASONS.get(finish or "")
        text = self._told.get("text") or {}
        return {
            "id": f"resp_{self.suffix}",
            "object": "response",
            "created_at": self._body.get("created") or 0,
            "model": self._body.get("model") or "",
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "output": output,
            "usage": None if usage is None else _usage(usage),
            "tools": self._told.get("tools") or [],
            "tool_choice": self._told.get("tool_choice") or "auto",
            "parallel_tool_calls": self._told.get("parallel_tool_calls") is not False,
            "text": {**text, "format": text.get("format") or {"type": "text"}},
            "metadata": self._told.get("metadata") or {},
            "truncation": "disabled",
            "background": False,
            "previous_response_id": None,
            "store": False,
            **{name: self._told.get(name) for name in _ECHOED},
        }

    def reasoning(self, thought: str, extra: Any, *, status: str = "completed") -> dict[str, Any]:
        """Return the item of a thought, sealed with what its provider wants back."""
        item: dict[str, Any] = {
            "id": f"rs_{self.suffix}",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": thought}] if thought else [],
            "status": status,
        }
        if extra and self.seals:
            item["encrypted_content"] = packed(extra)
        return item

    def message(self, parts: list[dict[str, Any]], *, status: str = "completed") -> dict[str, Any]:
        """Return the item of what is said."""
        return {
            "id": f"msg_{self.suffix}",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": parts,
        }

    def call(
        self, call: Call, position: int, arguments: str, *, status: str = "completed"
    ) -> dict[str, Any]:
        """Return the item of a call; `extra_content` comes back from clients that keep it."""
        item: dict[str, Any] = {
            "id": f"fc_{self.suffix}_{position}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": arguments,
            "status": status,
        }
        return {**item, "extra_content": dict(call.extra)} if call.extra else item


def ended(finish: str | None) -> str:
    """Return the status of what ended so."""
    return "incomplete" if finish in _REASONS else "completed"


def text_part(text: str) -> dict[str, Any]:
    """Return a part of a message that is text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> dict[str, Any]:
    """Return a part of a message that is a refusal."""
    return {"type": "refusal", "refusal": text}


def write(
    told: Mapping[str, Any], body: Mapping[str, Any], charged: Usage | None
) -> dict[str, Any]:
    """Return the response for a `chat.completion`."""
    envelope = Envelope(told, body)
    choice = body["choices"][0]
    message, finish = choice["message"], choice.get("finish_reason")
    output = []
    thought, extra = thought_of(message), message.get("extra_content")
    if thought or (extra and envelope.seals):
        output.append(envelope.reasoning(thought, extra))
    parts = [text_part(message["content"])] if message.get("content") else []
    if message.get("refusal"):
        parts.append(refusal_part(message["refusal"]))
    calls = calls_of(message)
    if parts or not calls:
        output.append(envelope.message(parts or [text_part("")]))
    output += [envelope.call(call, n, call.arguments) for n, call in enumerate(calls)]
    output[-1]["status"] = ended(finish)
    used = usage_of(body.get("usage"), charged)
    return envelope.response(output, finish=finish, usage=used, status=ended(finish))


def _usage(used: Usage) -> dict[str, Any]:
    return {
        "input_tokens": used.input_tokens,
        "input_tokens_details": {
            "cached_tokens": used.cached_input_tokens,
            "cache_write_tokens": used.cache_write_tokens,
        },
        "output_tokens": used.output_tokens,
        "output_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
        "total_tokens": used.input_tokens + used.output_tokens,
    }
