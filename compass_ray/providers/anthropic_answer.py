"""Reads Anthropic's messages and stream events into the normal form. Pure.

Anthropic counts cache reads and writes beside `input_tokens`; Compass includes them.
Thinking goes to `reasoning_content`, and with its signature to `extra_content`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from compass_ray.providers._json import as_object, as_text, objects, text_or_none
from compass_ray.providers._normal_form import answer, choice, chunk, usage_chunk
from compass_ray.providers._usage import usage_of
from compass_ray.providers.anthropic_vocabulary import FINISH, THINKING
from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Answer, Chunk
from compass_ray.types.errors import BadAnswer, BrokenStream
from compass_ray.types.usage import Usage


def read(message: dict[str, Any], state: StreamState) -> Answer:
    """Read a whole message.

    Raises:
        BadAnswer: it is none.
    """
    if message.get("type") != "message":
        raise BadAnswer("the provider's answer is not a message")
    reason = message.get("stop_reason")
    if not isinstance(reason, str):
        raise BadAnswer("stop_reason of the provider's answer is not a string")
    out = _message(objects("content", message.get("content")))
    usage = _usage(as_object(message.get("usage")))
    finish = FINISH.get(reason, "stop")
    told = choice(0, out, finish) | _met(message)
    return answer(state, message.get("id"), [told], usage)


def _met(stopped: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stop sequence that was met, under vLLM's name: OpenAI has none."""
    met = stopped.get("stop_sequence")
    return {"stop_reason": met} if isinstance(met, str) else {}


def _message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    texts: list[str] = []
    thoughts: list[str] = []
    kept: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        match block.get("type"):
            case "text":
                texts.append(_text(block, "text"))
            case "tool_use":
                calls.append(_call(block))
            case kind if kind in THINKING:
                kept.append(block)
                thoughts.append(as_text(block.get("thinking")))
    out: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if any(thoughts):
        out["reasoning_content"] = "".join(thoughts)
    if kept:
        out["extra_content"] = _extra(kept)
    if calls:
        out["tool_calls"] = calls
    return out


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = block.get("input")
    if not isinstance(arguments, dict):
        raise BadAnswer("input of a tool call of the provider's answer is not an object")
    function = {"name": _text(block, "name"), "arguments": orjson.dumps(arguments).decode()}
    return {"id": _text(block, "id"), "type": "function", "function": function}


def _text(block: Mapping[str, Any], name: str) -> str:
    text = text_or_none(name, block.get(name))
    if text is None:
        raise BadAnswer(f"{name} is missing in the provider's answer")
    return text


def _extra(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"anthropic": {"thinking_blocks": blocks}}


def _usage(told: Mapping[str, Any]) -> Usage | None:
    names = ("cache_read_input_tokens", "cache_creation_input_tokens")
    read, written = (0 if told.get(name) is None else told[name] for name in names)
    parts = (told.get("input_tokens"), read, written)
    if any(type(part) is not int for part in parts):
        return None
    thinking = as_object(told.get("output_tokens_details")).get("thinking_tokens")
    return usage_of(sum(parts), told.get("output_tokens"), read, thinking, written)


def read_event(document: dict[str, Any], state: StreamState) -> list[Chunk]:
    """Read one event of a stream.

    Raises:
        BadAnswer: it is not what Anthropic promises.
        BrokenStream: the message stops without a stop reason.
    """
    kind = document.get("type")
    if type(kind) is not str:
        raise BadAnswer("an event of the provider's stream has no type")
    reader = _READERS.get(kind)
    return [] if reader is None else reader(document, state)


def _start(document: Mapping[str, Any], state: StreamState) -> list[Chunk]:
    message = as_object(document.get("message"))
    state.scratch["id"] = as_text(message.get("id"))
    told = dict(as_object(message.get("usage")))
    state.scratch["usage"] = told
    delta = {"role": "assistant", "content": ""}
    return [chunk(state, delta, usage=_usage(told))]


def _block_start(document: Mapping[str, Any], state: StreamState) -> list[Chunk]:
    block = as_object(document.get("content_block"))
    _blocks(state)[_index(document)] = opened = dict(block)
    match block.get("type"):
        case "text" if block.get("text"):
            text = _text(block, "text")
            return [chunk(state, {"content": text}, chars=len(text))]
        case "tool_use":
            opened["position"] = position = state.scratch.get("calls", 0)
            state.scratch["calls"] = position + 1
            function = {"name": _text(block, "name"), "arguments": ""}
            call = {"id": _text(block, "id"), "type": "function", "function": function}
            return [chunk(state, {"tool_calls": [{"index": position, **call}]})]
    return []


def _delta(document: Mapping[str, Any], state: StreamState) -> list[Chunk]:
    delta = as_object(document.get("delta"))
    match delta.get("type"):
        case "text_delta":
            text = _text(delta, "text")
            return [chunk(state, {"content": text}, chars=len(text))]
        case "input_json_delta":
            block = _opened(document, state)
            return _arguments(state, block, _text(delta, "partial_json"))
        case "thinking_delta":
            block = _opened(document, state)
            thought = _text(delta, "thinking")
            block["thinking"] = as_text(block.get("thinking")) + thought
            return [chunk(state, {"reasoning_content": thought}, chars=len(thought))]
        case "signature_delta":
            _opened(document, state)["signature"] = _text(delta, "signature")
    return []


def _block_stop(document: Mapping[str, Any], state: StreamState) -> list[Chunk]:
    block = _blocks(state).pop(_index(document), {})
    if block.get("type") in THINKING:
        return [chunk(state, {"extra_content": _extra([block])})]
    if block.get("type") == "tool_use" and not block.get("told"):
        whole = as_object(block.get("input"))
        return _arguments(state, block, orjson.dumps(whole).decode())
    return []


def _arguments(state: StreamState, block: dict[str, Any], text: str) -> list[Chunk]:
    if not text or block.get("type") != "tool_use":  # a tool that Anthropic runs itself
        return []
    block["told"] = True
    call = {"index": block["position"], "function": {"arguments": text}}
    return [chunk(state, {"tool_calls": [call]}, chars=len(text))]


def _message_delta(document: Mapping[str, Any], state: StreamState) -> list[Chunk]:
    told = state.scratch.setdefault("usage", {})
    told.update({k: v for k, v in as_object(document.get("usage")).items() if v is not None})
    usage = _usage(told)
    delta = as_object(document.get("delta"))
    reason = text_or_none("stop_reason", delta.get("stop_reason"))
    if reason is None:
        return [Chunk(None, usage=usage)]
    state.scratch["finished"] = True
    last = chunk(state, {}, finish=FINISH.get(reason, "stop"), usage=usage)
    if last.body is not None:
        last.body["choices"][0].update(_met(delta))
    return [last]


def _stop(_document: Mapping[str, Any], state: StreamState) -> list[Chunk]:
    if "finished" not in state.scratch:
        raise BrokenStream("the message stops without a stop reason")
    usage = _usage(state.scratch.get("usage", {}))
    done = Chunk(None, usage=usage, done=True)
    return [done] if usage is None else [usage_chunk(state, usage), done]


def _blocks(state: StreamState) -> dict[int, dict[str, Any]]:
    blocks: dict[int, dict[str, Any]] = state.scratch.setdefault("blocks", {})
    return blocks


def _opened(document: Mapping[str, Any], state: StreamState) -> dict[str, Any]:
    block = _blocks(state).get(_index(document))
    if block is None:
        raise BadAnswer("the provider's stream adds to a block that it did not start")
    return block


def _index(document: Mapping[str, Any]) -> int:
    index = document.get("index")
    if type(index) is not int:
        raise BadAnswer("a block of the provider's stream has no index")
    return index


_READERS: Mapping[str, Callable[[Mapping[str, Any], StreamState], list[Chunk]]] = {
    "content_block_delta": _delta,
    "content_block_start": _block_start,
    "content_block_stop": _block_stop,
    "message_delta": _message_delta,
    "message_start": _start,
    "message_stop": _stop,
}
"""Event to reader; Anthropic may add events within a version, a new one is skipped."""
