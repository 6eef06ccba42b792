"""Azure OpenAI's wire: OpenAI's with an address, errors and content filter of its own.

Both ways in: /openai/v1, and /openai/deployments/{deployment} with an api-version.
Source: https://learn.microsoft.com/azure/ai-foundry/openai, "REST API" and "Content filtering".
Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.simulator import body, openai
from compass_ray.simulator.exchange import Ask, Frame, Refused, Reply, Trouble

NAME = "azure"

_HARMS = ("hate", "self_harm", "sexual", "violence")
_SAFE = {harm: {"filtered": False, "severity": "safe"} for harm in _HARMS}
_FOUND = {**_SAFE, "violence": {"filtered": True, "severity": "medium"}}
_PROMPT = [{"prompt_index": 0, "content_filter_results": _SAFE}]
_DATA = b"data: "


def authenticate(headers: Mapping[str, str], _query: Mapping[str, str]) -> None:
    """Refuse a request without a key or with a revoked one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = headers.get("api-key", "").strip() or (token.strip() if scheme == "Bearer" else "")
    if not key or key.startswith("sk-revoked"):
        raise Refused(
            401,
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription and use a correct regional API "
            "endpoint for your resource.",
        )


def read(raw: bytes, path: Mapping[str, str]) -> Ask:
    """Read a chat completion request; the classic path names the deployment."""
    deployment = path.get("deployment")
    if deployment is None:
        return openai.read(raw, path)
    if not path.get("api-version"):
        raise Refused(404, "404", "Resource not found")
    told = body.load(raw)
    return openai.read(raw if told is None else orjson.dumps({**told, "model": deployment}), path)


def whole(ask: Ask, reply: Reply) -> bytes:
    """Write the answer in one piece, with what the filter found."""
    document = orjson.loads(openai.whole(ask, reply))
    for choice in document["choices"]:
        choice["content_filter_results"] = _SAFE
    return orjson.dumps({**document, "prompt_filter_results": _PROMPT})


def frames(ask: Ask, reply: Reply) -> Iterator[Frame]:
    """Write the answer as server-sent events; the first has nothing but the prompt's findings."""
    head = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    yield Frame(_event({**head, "prompt_filter_results": _PROMPT}))
    for frame in openai.frames(ask, reply):
        told = body.load(frame.data.removeprefix(_DATA))
        if told is None:  # [DONE]
            yield frame
            continue
        for choice in told["choices"]:
            choice["content_filter_results"] = _SAFE if "content" in choice["delta"] else {}
        yield Frame(_event(told), frame.tokens)


def error(trouble: Trouble, request_id: str) -> bytes:
    """Write an error: the model's own as OpenAI does, Azure's with a code and a message."""
    if trouble.kind == "content_filter":
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _FOUND}
        told: dict[str, Any] = {"type": None, "param": "prompt", "status": trouble.status}
        told |= {"code": trouble.kind, "message": trouble.message, "innererror": inner}
        return orjson.dumps({"error": told})
    if trouble.status == 400:  # noqa: PLR2004  # HTTP's
        return openai.error(trouble, request_id)
    code = trouble.kind or str(trouble.status)
    return orjson.dumps({"error": {"code": code, "message": trouble.message}})


error_event = openai.error_event


def headers(ask: Ask | None, request_id: str) -> dict[str, str]:
    """Return what Azure says beside an answer."""
    told = {"apim-request-id": request_id, "x-ms-region": "Simulated"}
    if ask is not None:
        told["x-ratelimit-remaining-requests"] = "9999"
        told["x-ratelimit-remaining-tokens"] = str(max(0, 2_000_000 - ask.input_tokens))
    return told


models = openai.models


def _event(document: Mapping[str, Any]) -> bytes:
    return _DATA + orjson.dumps(document) + b"\n\n"
