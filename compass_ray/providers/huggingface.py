"""Hugging Face's router: OpenAI's wire, as far as those who serve the open models keep to it.

The model is `owner/name`, or `owner/name:provider` for one provider. Servers of open models
ignore what they do not know: all that Hugging Face does not document is left out or refused, so
that nothing seems to have been done. A system prompt has one role, tools are functions, and the
output is always limited, by `max_tokens`.

Source: huggingface_hub's ChatCompletionInput; `reasoning_effort` is in the guide to gpt-oss.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from compass_ray.providers import _openai_errors
from compass_ray.providers._content import arguments_of, image_of, parts_of
from compass_ray.providers._embeddings import texts_of, vector_of
from compass_ray.providers._fields import ADVISORY, Handling, inexpressible, refuse_inexpressible
from compass_ray.providers._json import as_object, dump
from compass_ray.providers._tools import Tools, read_tools
from compass_ray.providers.base import HttpCall, StreamState, Target
from compass_ray.providers.openai import OpenAIWire
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.embeddings import Embedded, EmbeddingRequest
from compass_ray.types.errors import BadAnswer
from compass_ray.types.routing import Endpoint

FIELDS: Mapping[str, Handling] = {
    **ADVISORY,
    "audio": (),
    "frequency_penalty": "translated",
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),  # documented as unused
    "logprobs": "translated",
    "max_completion_tokens": "advisory",  # `max_tokens` says it
    "max_tokens": "translated",
    "messages": "translated",
    "modalities": (["text"],),
    "model": "translated",
    "moderation": (),
    "n": (1,),  # documented as unused
    "parallel_tool_calls": "advisory",  # the client keeps to it, see `_one_call`
    "presence_penalty": "translated",
    "reasoning_effort": "translated",
    "response_format": "translated",
    "safety_identifier": "advisory",  # the router knows no end users
    "seed": "translated",
    "stop": "translated",
    "stream": "translated",
    "stream_options": "advisory",  # usage is always asked for, and there is nothing else
    "temperature": "translated",
    "tool_choice": "translated",
    "tools": "translated",
    "top_logprobs": "translated",
    "top_p": "translated",
    "user": "advisory",  # the router knows no end users
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""What becomes of each of OpenAI's fields, see `_fields`."""

_ROLES = {"developer": "system"}
_EFFORTS = frozenset({"none", "low", "medium", "high"})


class HuggingFaceEmbedder:
    """Implements `Embedder` by the task `feature-extraction` of Hugging Face's own servers.

    They answer with bare vectors: nobody says how many tokens there were.
    """

    def ask(self, request: EmbeddingRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write the texts; what is too long is to be refused, not cut."""
        texts = texts_of(request)
        origin, model = target.base_url.removesuffix("/v1"), endpoint.wire_model
        headers = {"content-type": "application/json"}
        if target.key is not None:
            headers["authorization"] = f"Bearer {target.key}"
        url = f"{origin}/hf-inference/models/{model}/pipeline/feature-extraction"
        return HttpCall(url, headers, dump({"inputs": texts, "truncate": False}))

    def read(self, body: bytes) -> Embedded:
        """Read an array of vectors."""
        try:
            told = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise BadAnswer("the provider did not answer in JSON") from None
        if as_object(told).get("error") is not None:
            raise _openai_errors.in_answer(told)
        if not isinstance(told, list):
            raise BadAnswer("the provider's answer is not an array of vectors")
        return Embedded([vector_of(one) for one in told])


class HuggingFaceWire(OpenAIWire):
    """The same, except that what the router does not have is refused."""

    embedder = HuggingFaceEmbedder()

    def decode(self, body: bytes, state: StreamState) -> Answer:
        """Read a `chat.completion`."""
        answer = super().decode(body, state)
        for choice in answer.body["choices"]:
            _name_reasoning(choice["message"])
        return answer

    def decode_chunk(self, event: str, data: bytes, state: StreamState) -> list[Chunk]:
        """Read a `chat.completion.chunk`, or [DONE]."""
        chunks = super().decode_chunk(event, data, state)
        for choice in (choice for one in chunks if one.body for choice in one.body["choices"]):
            _name_reasoning(choice["delta"])
        return chunks

    def _body(self, request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
        refuse_inexpressible(request.body, FIELDS)
        whole = super()._body(request, endpoint)
        body = {
            name: value
            for name, value in whole.items()
            if value is not None and FIELDS[name] == "translated"
        }
        body["max_tokens"] = endpoint.output_limit(request.max_output_tokens)
        body["messages"] = [
            _message(message, f"messages[{index}]")
            for index, message in enumerate(body["messages"])
        ]
        if request.stream:
            body["stream_options"] = {"include_usage": True}
        if isinstance(body.get("stop"), str):
            body["stop"] = [body["stop"]]
        _write_tools(body, read_tools(request.body))
        _check_reasoning(body, endpoint)
        return body


def _message(message: dict[str, Any], path: str) -> dict[str, Any]:
    role = message["role"]
    if role == "function":
        raise inexpressible(f"{path}.role")
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise inexpressible(f"{path}.{name}")
    for where, part in parts_of(message.get("content"), f"{path}.content"):
        if part["type"] == "image_url":
            image_of(part, where)
        elif part["type"] != "text":
            raise inexpressible(f"{where}.type", f"the chosen provider takes no {part['type']}")
    for index, call in enumerate(message.get("tool_calls") or ()):
        arguments_of(call, f"{path}.tool_calls[{index}]")
    return {**message, "role": _ROLES.get(role, role)}


def _write_tools(body: dict[str, Any], tools: Tools) -> None:
    """Write the tools that may be called, and the choice as the router knows it."""
    body.pop("tools", None)
    body.pop("tool_choice", None)
    if not tools.functions:
        return
    body["tools"] = [{"type": "function", "function": function} for function in tools.functions]
    if tools.name is not None:
        body["tool_choice"] = {"type": "function", "function": {"name": tools.name}}
    elif tools.mode is not None:
        body["tool_choice"] = tools.mode


def _check_reasoning(body: dict[str, Any], endpoint: Endpoint) -> None:
    """Leave out a wish not to reason where the model does not; refuse any other there."""
    effort = body.get("reasoning_effort", "none")
    reasons = "reasoning" in endpoint.capabilities
    if effort not in (_EFFORTS if reasons else ("none",)):
        raise inexpressible(
            "reasoning_effort", f"{endpoint.model} has no reasoning_effort {effort!r}"
        )
    if not reasons:
        body.pop("reasoning_effort", None)


def _name_reasoning(message: dict[str, Any]) -> None:
    """Give the reasoning the name it has in the normal form."""
    if "reasoning" in message:
        message["reasoning_content"] = message.pop("reasoning")
