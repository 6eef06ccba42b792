"""OpenAI's wire: chat completions and the model list.

Source: the openai SDK 3.x and https://platform.openai.com/docs/api-reference/chat. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.simulator.exchange import Ask, Call, Choice, Frame, Refused, Reply, Trouble, Usage
from compass_ray.simulator.openai_request import read

__all__ = [
    "MODELS",
    "NAME",
    "authenticate",
    "error",
    "error_event",
    "frames",
    "headers",
    "models",
    "read",
    "whole",
]

NAME = "openai"
MODELS = ("sim-1", "gpt-6", "gpt-6-mini")

_CREATED = 1_790_000_000  # a fixed time: the same seed gives the same bytes
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


def whole(ask: Ask, reply: Reply) -> bytes:
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
    document = {**_head(reply, "chat.completion"), "choices": choices, "service_tier": ask.tier}
    if reply.usage is not None:
        document["usage"] = _usage(reply.usage)
    return orjson.dumps(document)


def frames(ask: Ask, reply: Reply) -> Iterator[Frame]:
    """Write the answer as server-sent events, one token each."""
    head = {**_head(reply, "chat.completion.chunk"), "service_tier": ask.tier}
    if ask.include_usage:
        head["usage"] = None

    def event(index: int, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [choice]})

    for index, choice in enumerate(reply.choices):
        for delta, tokens in _deltas(choice):
            yield Frame(event(index, delta), tokens)
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
    if choice.calls:
        message["content"] = None
        message["tool_calls"] = [_call(call, call.arguments) for call in choice.calls]
    return message


def _deltas(choice: Choice) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what is added to the message, each with the number of tokens produced for it."""
    if not choice.calls:
        yield {"role": "assistant", "content": "", "refusal": None}, 0
        for token in choice.tokens:
            yield {"content": token}, 1
    for n, call in enumerate(choice.calls):
        role = {} if n else {"role": "assistant", "content": None}
        yield {**role, "tool_calls": [{"index": n, **_call(call, "")}]}, 0
        for token in call.tokens:
            yield {"tool_calls": [{"index": n, "function": {"arguments": token}}]}, 1


def _call(call: Call, arguments: str) -> dict[str, Any]:
    function = {"name": call.tool, "arguments": arguments}
    return {"id": f"call_{call.id}", "type": "function", "function": function}


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
