"""Writes answers in the normal form, OpenAI's, for the wires that speak another. Pure.

Two keys go beyond OpenAI's own: `reasoning_content`, the readable reasoning, as vLLM, llama.cpp
and DeepSeek name it, and `extra_content`, what a provider wants back unread in the next turn
(signatures of its reasoning), as Google's own OpenAI endpoint names it. The official SDKs keep
both, and a caller that sends an answer back unchanged keeps the provider's train of thought.
"""

from typing import Any

from compass_ray.providers._usage import usage_json
from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Answer, Chunk, FinishReason
from compass_ray.types.usage import Usage

EXTENSIONS = ("reasoning_content", "extra_content")


def answer(
    state: StreamState, answer_id: Any, choices: list[dict[str, Any]], usage: Usage | None
) -> Answer:
    """Return the whole answer; its finish reason is the first choice's."""
    body: dict[str, Any] = {
        "id": answer_id if isinstance(answer_id, str) and answer_id else state.request_id,
        "object": "chat.completion",
        "created": state.created,
        "model": state.model,
        "choices": choices,
    }
    if usage is not None:
        body["usage"] = usage_json(usage)
    return Answer(body, usage, choices[0]["finish_reason"])


def choice(index: int, message: dict[str, Any], finish: FinishReason) -> dict[str, Any]:
    """Return one choice of a whole answer."""
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def chunk(
    state: StreamState,
    delta: dict[str, Any],
    *,
    index: int = 0,
    finish: FinishReason | None = None,
    chars: int = 0,
    usage: Usage | None = None,
) -> Chunk:
    """Return one chunk that carries `delta`."""
    body = _chunk_body(state)
    body["choices"] = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return Chunk(body, chars, usage, finish)


def usage_chunk(state: StreamState, usage: Usage) -> Chunk:
    """Return the chunk without choices that reports the usage of the whole stream."""
    body = _chunk_body(state)
    body["choices"] = []
    body["usage"] = usage_json(usage)
    return Chunk(body, usage=usage)


def _chunk_body(state: StreamState) -> dict[str, Any]:
    return {
        "id": state.scratch.get("id") or state.request_id,
        "object": "chat.completion.chunk",
        "created": state.created,
        "model": state.model,
    }
