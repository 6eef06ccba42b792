"""Look-ups in answers of the normal form, for every door that writes them differently. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from compass_ray.types.errors import BadAnswer, BrokenStream
from compass_ray.types.usage import Usage


def as_object(value: Any) -> dict[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def goes_on(chunk: Mapping[str, Any]) -> None:
    """Refuse a chunk by which a stream begins anew: only OpenAI's chunks can say so.

    Raises:
        BrokenStream
    """
    if as_object(chunk.get("compass")).get("event") == "restart":
        raise BrokenStream("the stream broke off; it can begin anew only as chat completions")


def thought_of(message: Mapping[str, Any]) -> str:
    """Return readable reasoning; `reasoning` is vLLM's and OpenRouter's name of it."""
    return message.get("reasoning_content") or message.get("reasoning") or ""


def signed_by_anthropic(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks of thoughts that Anthropic wants back as they are."""
    extra = as_object(as_object(message.get("extra_content")).get("anthropic"))
    blocks: list[dict[str, Any]] = extra.get("thinking_blocks") or []
    return blocks


@dataclass(frozen=True, slots=True)
class Call:
    """A function call of an answer; `extra` is what its provider wants back unread."""

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any]

    def input(self) -> dict[str, Any]:
        """Return the arguments as an object.

        Raises:
            BadAnswer: the model did not write one.
        """
        try:
            value = orjson.loads(self.arguments or "{}")
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise BadAnswer(f"the arguments of the call of {self.name!r} are not a JSON object")
        return value


def calls_of(message: Mapping[str, Any]) -> list[Call]:
    """Return the calls of a whole answer.

    Raises:
        BadAnswer: one is not of a function.
    """
    return [call_of(call) for call in message.get("tool_calls") or ()]


def call_of(call: Mapping[str, Any]) -> Call:
    """Return one call, or the beginning of a streamed one.

    Raises:
        BadAnswer: it is not of a function.
    """
    function = as_object(call.get("function"))
    name, call_id = function.get("name"), call.get("id")
    if not isinstance(name, str) or not isinstance(call_id, str):
        raise BadAnswer("a call of the provider's answer names no function")
    return Call(
        call_id, name, function.get("arguments") or "", as_object(call.get("extra_content"))
    )


def usage_of(told: Any, charged: Usage | None) -> Usage:
    """Return what the answer's `usage` says, else what was charged, else zeros."""
    usage = as_object(told)
    if not usage:
        return charged or Usage()
    inputs = as_object(usage.get("prompt_tokens_details"))
    outputs = as_object(usage.get("completion_tokens_details"))
    return Usage(
        input_tokens=usage.get("prompt_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
        cached_input_tokens=inputs.get("cached_tokens") or 0,
        reasoning_tokens=outputs.get("reasoning_tokens") or 0,
        cache_write_tokens=inputs.get("cache_write_tokens") or 0,
    )
