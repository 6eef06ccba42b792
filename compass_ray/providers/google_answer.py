"""Reads Google's GenerateContentResponse, whole or streamed, into the normal form. Pure.

A blocked prompt (`promptFeedback.blockReason`) is an answer without content and with the finish
reason `content_filter`, not an error: it carries usage, which is charged. A function call that the
model garbled is a BadAnswer. Google's streams have no [DONE]: the event by which every candidate
has its finish reason is the terminal one; usage may come with it or later.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from compass_ray.providers._json import as_list, as_object, as_text, objects, text_or_none
from compass_ray.providers._normal_form import answer, choice, chunk, usage_chunk
from compass_ray.providers._usage import usage_of
from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Answer, Chunk, FinishReason
from compass_ray.types.errors import BadAnswer
from compass_ray.types.usage import Usage

_FINISH: Mapping[str, FinishReason] = {
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "OTHER",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_OTHER",
            "IMAGE_RECITATION",
            "ESCALATION",
            "PUP_LIMITED_DISABLED",
            "MODEL_ARMOR",
        ),
        "content_filter",
    ),
}
"""STOP and reasons yet unknown are `stop`, or `tool_calls` where the model calls."""

_GARBLED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    }
)


def read(document: dict[str, Any], state: StreamState) -> Answer:
    """Read a whole response.

    Raises:
        BadAnswer: it is none, or the model garbled it.
    """
    state.scratch["id"] = as_text(document.get("responseId"))
    usage = _usage(document)
    candidates = _candidates(document)
    if not candidates:
        blocked = choice(0, {"role": "assistant", "content": None}, "content_filter")
        return answer(state, state.scratch["id"], [blocked], usage)
    choices = [_choice(one, position, state) for position, one in enumerate(candidates)]
    return answer(state, state.scratch["id"], choices, usage)


def _candidates(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the candidates; none where the prompt was blocked."""
    if document.get("candidates") is not None:
        candidates = objects("candidates", document["candidates"])
        if candidates:
            return candidates
    if as_object(document.get("promptFeedback")).get("blockReason") is None:
        raise BadAnswer("the provider's answer has no candidates")
    return []


def _choice(candidate: Mapping[str, Any], position: int, state: StreamState) -> dict[str, Any]:
    index = _index(candidate, position)
    text, thought, calls = _content(candidate, index, state)
    finish = _finish(candidate, index, state)
    if finish is None:
        raise BadAnswer("the provider's answer has no finishReason")
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [{k: v for k, v in one.items() if k != "index"} for one in calls]
    out = choice(index, message, finish)
    out["logprobs"] = _logprobs(candidate)
    return out


def _content(
    candidate: Mapping[str, Any], index: int, state: StreamState
) -> tuple[str | None, str, list[dict[str, Any]]]:
    """Return text (None if there is none), thoughts and tool calls of one candidate."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    content = candidate.get("content")
    if content is not None and not isinstance(content, dict):
        raise BadAnswer("content of the provider's answer is not an object")
    parts = as_object(content).get("parts")
    for part in objects("parts", [] if parts is None else parts):
        if part.get("functionCall") is not None:
            calls.append(_call(part, index, state))
        else:
            text = text_or_none("text", part.get("text"))
            if text is not None:
                (thoughts if part.get("thought") is True else texts).append(text)
    return "".join(texts) if texts else None, "".join(thoughts), calls


def _call(part: Mapping[str, Any], index: int, state: StreamState) -> dict[str, Any]:
    call = as_object(part["functionCall"])
    name, arguments = call.get("name"), call.get("args")
    if not isinstance(name, str) or not isinstance(arguments, dict | None):
        raise BadAnswer("a function call of the provider's answer has no name or no arguments")
    counts = state.scratch.setdefault("calls", {})
    position = counts.get(index, 0)
    counts[index] = position + 1
    call_id = call.get("id")
    out: dict[str, Any] = {
        "index": position,
        "id": call_id if isinstance(call_id, str) and call_id else _call_id(state, index, position),
        "type": "function",
        "function": {"name": name, "arguments": orjson.dumps(arguments or {}).decode()},
    }
    signature = part.get("thoughtSignature")
    if isinstance(signature, str):
        out["extra_content"] = {"google": {"thought_signature": signature}}
    return out


def _call_id(state: StreamState, index: int, position: int) -> str:
    """Return an id that is unique in the conversation: older models give none."""
    return f"call_{state.request_id}_{index}_{position}"


def _finish(candidate: Mapping[str, Any], index: int, state: StreamState) -> FinishReason | None:
    reason = text_or_none("finishReason", candidate.get("finishReason"))
    if not reason or reason == "FINISH_REASON_UNSPECIFIED":
        return None
    if reason in _GARBLED:
        raise BadAnswer(f"the model's answer is unusable: {reason}", code=reason.lower())
    called = state.scratch.get("calls", {}).get(index, 0) > 0
    return _FINISH.get(reason, "tool_calls" if called else "stop")


def _index(candidate: Mapping[str, Any], position: int) -> int:
    index = candidate.get("index")
    return index if type(index) is int else position


def _logprobs(candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    told = as_object(candidate.get("logprobsResult"))
    chosen, tops = as_list(told.get("chosenCandidates")), as_list(told.get("topCandidates"))
    if not chosen:
        return None
    content = []
    for position, one in enumerate(chosen):
        beside = tops[position] if position < len(tops) else None
        top = [_logprob(other) for other in as_list(as_object(beside).get("candidates"))]
        content.append({**_logprob(one), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _logprob(told: Any) -> dict[str, Any]:
    token, probability = as_object(told).get("token"), as_object(told).get("logProbability", 0.0)
    if not isinstance(token, str) or type(probability) not in (int, float):
        raise BadAnswer("logprobs of the provider's answer are malformed")
    return {"token": token, "logprob": float(probability), "bytes": list(token.encode())}


def _usage(document: Mapping[str, Any]) -> Usage | None:
    """Return the usage; Google counts thoughts and tool prompts apart, and leaves zeros out."""
    told = as_object(document.get("usageMetadata"))
    names = ("toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    tools, spoken, thoughts = (0 if told.get(name) is None else told[name] for name in names)
    prompt = told.get("promptTokenCount")
    if any(type(count) is not int for count in (prompt, tools, spoken, thoughts)):
        return None
    if min(tools, spoken, thoughts) < 0:
        return None
    cached = told.get("cachedContentTokenCount")
    return usage_of(told["promptTokenCount"] + tools, spoken + thoughts, cached, thoughts)


def read_event(document: dict[str, Any], state: StreamState) -> list[Chunk]:
    """Read one event of a stream.

    Raises:
        BadAnswer: it is not what Google promises, or the model garbled its answer.
    """
    scratch = state.scratch
    scratch.setdefault("id", as_text(document.get("responseId")))
    usage = _usage(document)
    if document.get("candidates") or document.get("promptFeedback"):
        chunks = _candidate_chunks(_candidates(document), state)
    elif "usageMetadata" in document:
        chunks = []
    else:
        raise BadAnswer("an event of the provider's stream has no candidates")
    done = bool(scratch.get("finished")) and not scratch.get("open")
    if not done:
        return [*chunks, Chunk(None, usage=usage)] if usage is not None else chunks
    if usage is not None:
        chunks.append(usage_chunk(state, usage))
    return [*chunks, Chunk(None, usage=usage, done=True)]


def _candidate_chunks(candidates: list[dict[str, Any]], state: StreamState) -> list[Chunk]:
    if not candidates:
        state.scratch["finished"] = True
        return [chunk(state, _delta(state, 0), finish="content_filter")]
    opened: set[int] = state.scratch.setdefault("open", set())
    chunks: list[Chunk] = []
    for candidate in candidates:
        index = _index(candidate, 0)  # a zero is left out
        opened.add(index)
        chunks += _delta_chunks(candidate, index, state)
        finish = _finish(candidate, index, state)
        if finish is not None:
            opened.discard(index)
            state.scratch["finished"] = True
            chunks.append(chunk(state, _delta(state, index), index=index, finish=finish))
    return chunks


def _delta_chunks(candidate: Mapping[str, Any], index: int, state: StreamState) -> list[Chunk]:
    text, thought, calls = _content(candidate, index, state)
    if text is None and not thought and not calls:
        return []
    delta = _delta(state, index)
    if thought:
        delta["reasoning_content"] = thought
    if text is not None:
        delta["content"] = text
    if calls:
        delta["tool_calls"] = calls
    chars = len(thought) + len(text or "")
    chars += sum(len(call["function"]["arguments"]) for call in calls)
    made = chunk(state, delta, index=index, chars=chars)
    logprobs = _logprobs(candidate)
    if logprobs is not None and made.body is not None:
        made.body["choices"][0]["logprobs"] = logprobs
    return [made]


def _delta(state: StreamState, index: int) -> dict[str, Any]:
    """Return an empty delta; a choice's first one names the role."""
    spoke: set[int] = state.scratch.setdefault("spoke", set())
    if index in spoke:
        return {}
    spoke.add(index)
    return {"role": "assistant"}
