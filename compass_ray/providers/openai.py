"""OpenAI's chat-completions wire, which is also Compass's normal form: almost a passthrough.

What is changed on the way out: `model` is the endpoint's, a stream always asks for usage, the
output limit stays within the endpoint's, and Compass's own fields are left out. On the way in:
`model` is the name the caller knows, an unknown finish reason becomes `stop`, and a usage that
cannot be true is removed.

A stream that says [DONE] without a finish reason is broken; one that ends after its finish reason
without [DONE] is complete; without a usage chunk no chunk carries usage.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from compass_ray.providers import _openai_errors, _rate_limits
from compass_ray.providers._json import as_object, dump, load_object, objects, text_or_none
from compass_ray.providers._normal_form import EXTENSIONS
from compass_ray.providers._usage import usage_of
from compass_ray.providers.base import Embedder, HttpCall, StreamState, Target
from compass_ray.providers.openai_embeddings import OpenAIEmbedder
from compass_ray.types.chat import Answer, ChatRequest, Chunk, FinishReason
from compass_ray.types.errors import BadAnswer, BrokenStream, CompassError
from compass_ray.types.routing import Endpoint
from compass_ray.types.usage import Usage

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_GAVE_UP = frozenset({"abort", "error", "insufficient_system_resource"})
"""Finish reasons by which vLLM, OpenRouter and DeepSeek say that the answer is not complete."""


def _call(path: str, body: Mapping[str, Any], _endpoint: Endpoint, target: Target) -> HttpCall:
    headers = {"content-type": "application/json"}
    if target.key is not None:
        headers["authorization"] = f"Bearer {target.key}"
    return HttpCall(f"{target.base_url}/{path}", headers, dump(body), patient=is_flex(body))


def is_flex(told: Mapping[str, Any]) -> bool:
    """Return whether a request or an answer is of the tier that is worked off when it suits.

    It costs what a batch does, and may take many minutes to begin.
    """
    return told.get("service_tier") == "flex"


class OpenAIWire:
    """Implements `Wire` for OpenAI and everything that speaks like it."""

    further = None
    counting = None
    embedder: Embedder | None = OpenAIEmbedder(_call)
    json_mode = True
    rate_limits = _rate_limits.OPENAI

    def prefills(self, endpoint: Endpoint) -> bool:  # noqa: ARG002  # no model of OpenAI's does
        """Return False: OpenAI's models begin a new message."""
        return False

    def encode(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write `request`; every field of OpenAI's passes."""
        return _call("chat/completions", self._body(request, endpoint), endpoint, target)

    def decode(self, body: bytes, state: StreamState) -> Answer:
        """Read a `chat.completion`."""
        answer = load_object(body)
        if answer.get("error") is not None:
            raise _openai_errors.in_answer(answer)
        choices = objects("choices", answer.get("choices"))
        if not choices:
            raise BadAnswer("the provider's answer has no choices")
        for index, choice in enumerate(choices):
            _check_choice(choice, index)
        _fill(answer, state, "chat.completion")
        usage = _usage(answer)
        return Answer(answer, usage, _FINISH[choices[0]["finish_reason"]])

    def decode_chunk(self, event: str, data: bytes, state: StreamState) -> list[Chunk]:  # noqa: ARG002  # this wire names no events
        """Read a `chat.completion.chunk`, or [DONE]."""
        if data == b"[DONE]":
            if "finished" not in state.scratch:
                raise BrokenStream("the stream is done without a finish reason")
            return [Chunk(None, done=True)]
        body = load_object(data)
        choices = body.get("choices")
        if type(choices) is not list or body.get("error") is not None:
            raise _openai_errors.in_answer(body)
        chars = 0
        finish: FinishReason | None = None
        for choice in choices:
            if type(choice) is not dict:
                raise BadAnswer("a choice of the provider's answer is not an object")
            chars += _delta_chars(choice, state)
            if choice.get("finish_reason") is not None:
                finish = _finish(choice)
                state.scratch["finished"] = True
        _fill(body, state, "chat.completion.chunk")
        if body.get("usage") is None:
            return [Chunk(body, chars, None, finish)]
        usage = _usage(body)
        return [Chunk(body if choices or usage else None, chars, usage, finish)]

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
        """Read OpenAI's error object, or a look-alike's."""
        return _openai_errors.read(status, headers, body)

    def _body(self, request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
        body = dict(request.body)
        body.pop("compass", None)
        body["model"] = endpoint.wire_model
        body["messages"] = [_plain(message) for message in body["messages"]]
        if body.get("tools"):
            body["tools"] = [_plain_tool(tool) for tool in body["tools"]]
        if body.get("reasoning_effort") == "none" and "reasoning" not in endpoint.capabilities:
            del body["reasoning_effort"]  # such a model knows no effort, and makes none
        if request.stream:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        price = endpoint.price
        if request.preferences.urgency == "batch" and price is not None and price.batch is not None:
            body.setdefault("service_tier", "flex")
        if request.max_output_tokens is not None:
            _limit_output(body, endpoint.output_limit(request.max_output_tokens), endpoint)
        return body


def _limit_output(body: dict[str, Any], limit: int, endpoint: Endpoint) -> None:
    """Set the limit under the name the model knows: those that reason refuse `max_tokens`."""
    newer = body.get("max_completion_tokens") is not None or "reasoning" in endpoint.capabilities
    body.pop("max_tokens", None)
    body.pop("max_completion_tokens", None)
    body["max_completion_tokens" if newer else "max_tokens"] = limit


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Return `message` without what Compass adds to other providers' answers."""
    for name in ("tool_calls", "content"):
        entries = message.get(name)
        if type(entries) is list and any("extra_content" in entry for entry in entries):
            message = {**message, name: [_bare(entry) for entry in entries]}
    if any(name in message for name in EXTENSIONS):
        return {name: value for name, value in message.items() if name not in EXTENSIONS}
    return message


def _bare(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "extra_content"}


def _plain_tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = as_object(tool.get("function"))
    return {**tool, "function": _bare(function)} if "extra_content" in function else tool


def _fill(body: dict[str, Any], state: StreamState, kind: str) -> None:
    """Make the envelope whole: look-alikes leave out what OpenAI promises."""
    body["object"] = kind
    body["model"] = state.model
    told = body.get("id")
    if type(told) is not str or not told:
        body["id"] = state.request_id
    if type(body.get("created")) is not int:
        body["created"] = state.created


def _delta_chars(choice: dict[str, Any], state: StreamState) -> int:
    """Check one streamed choice and count its text."""
    if type(choice.get("index")) is not int:
        choice["index"] = 0
    delta = choice.get("delta")
    if type(delta) is not dict:
        if delta is not None:
            raise BadAnswer("delta of the provider's answer is not an object")
        choice["delta"] = {}
        return 0
    if "role" in delta:
        _say_role_once(choice["index"], delta, state)
    content = delta.get("content")
    chars = 0
    if content is not None:
        if type(content) is not str:
            raise BadAnswer("content of the provider's answer is not a string")
        chars = len(content)
    for name in ("reasoning_content", "reasoning", "refusal"):
        if name in delta:
            chars += len(text_or_none(name, delta[name]) or "")
    if delta.get("tool_calls") is not None:
        chars += sum(map(_call_chars, objects("tool_calls", delta["tool_calls"])))
    return chars


def _say_role_once(index: int, delta: dict[str, Any], state: StreamState) -> None:
    """Leave the role of the first delta only: clients join those of several to one text."""
    said = state.scratch.setdefault("roles", set())
    if index in said:
        del delta["role"]
    else:
        said.add(index)
        delta["role"] = "assistant"


def _call_chars(call: dict[str, Any]) -> int:
    if type(call.get("index")) is not int:
        call["index"] = 0
    text_or_none("tool call id", call.get("id"))
    function = call.get("function")
    if function is None:
        return 0
    if type(function) is not dict:
        raise BadAnswer("function of the provider's answer is not an object")
    text_or_none("function name", function.get("name"))
    return len(text_or_none("function arguments", function.get("arguments")) or "")


def _check_choice(choice: dict[str, Any], index: int) -> None:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadAnswer("message of the provider's answer is not an object")
    message["role"] = "assistant"
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        text_or_none(name, message.get(name))
    message.setdefault("content", None)
    if message.get("tool_calls") is not None:
        for call in objects("tool_calls", message["tool_calls"]):
            _check_call(call)
    if type(choice.get("index")) is not int:
        choice["index"] = index
    _finish(choice)


def _check_call(call: dict[str, Any]) -> None:
    kind = call.setdefault("type", "function")
    if not isinstance(call.get("id"), str):
        raise BadAnswer("a tool call of the provider's answer has no id")
    if kind == "custom" and isinstance(call.get("custom"), dict):
        return
    function = as_object(call.get("function"))
    if not isinstance(function.get("name"), str) or not isinstance(function.get("arguments"), str):
        raise BadAnswer("a tool call of the provider's answer has no function")


def _finish(choice: dict[str, Any]) -> FinishReason:
    """Return the finish reason; one that OpenAI has not becomes `stop`, also for the caller."""
    reason = choice.get("finish_reason")
    if type(reason) is not str:
        raise BadAnswer("finish_reason of the provider's answer is not a string")
    if reason in _GAVE_UP:
        raise BrokenStream(f"the provider gave up: {reason}")
    known = _FINISH.get(reason)
    if known is None:
        choice["finish_reason"] = known = "stop"
    return known


def _usage(body: dict[str, Any]) -> Usage | None:
    """Return the usage; what cannot be true is not told to the caller either."""
    told = as_object(body.get("usage"))
    inputs = as_object(told.get("prompt_tokens_details"))
    outputs = as_object(told.get("completion_tokens_details"))
    usage = usage_of(
        told.get("prompt_tokens"),
        told.get("completion_tokens"),
        inputs.get("cached_tokens"),
        outputs.get("reasoning_tokens"),
        inputs.get("cache_write_tokens"),
    )
    if usage is not None and is_flex(body):
        usage = replace(usage, batch=True)
    if usage is None:
        body.pop("usage", None)
    elif type(told.get("total_tokens")) is not int:
        told["total_tokens"] = usage.input_tokens + usage.output_tokens
    return usage
