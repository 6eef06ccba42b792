"""Replicate's shapes: predictions, their streams and errors. How they live: `predictions`.

Source: the replicate SDK 1.x and https://replicate.com/docs/reference/http. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.simulator import body
from compass_ray.simulator.exchange import Ask, Frame, Refused, Reply, Trouble, Usage
from compass_ray.simulator.tokens import count_request

NAME = "replicate"
MODELS = ("meta/meta-llama-3-8b-instruct", "simulator/sim-1")

_CREATED = "2026-01-01T00:00:00.000000Z"
_TITLES = {
    401: "Unauthenticated",
    402: "Insufficient credit",
    404: "Not found",
    422: "Input validation failed",
    429: "Request was throttled",
    500: "Internal server error",
}


def authenticate(headers: Mapping[str, str], _query: Mapping[str, str]) -> None:
    """Refuse a request without a token or with a revoked one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() not in ("bearer", "token") or not token or token.startswith("r8_revoked"):
        raise Refused(401, "", "You did not pass a valid authentication token")


def read(raw: bytes, path: Mapping[str, str]) -> Ask:
    """Read the creation of a prediction."""
    told = body.load(raw)
    if told is None:
        raise Refused(400, "", "The request body is not valid JSON")
    asked = told.get("input")
    if not isinstance(asked, dict):
        raise _invalid("input", "input is required")
    if not isinstance(asked.get("prompt"), str):
        raise _invalid("input.prompt", "prompt is required")
    max_tokens = body.whole(asked.get("max_tokens", 512))
    if max_tokens is None or max_tokens < 1:
        raise _invalid("input.max_tokens", "max_tokens: must be greater than or equal to 1")
    model = f"{path['owner']}/{path['name']}" if "owner" in path else told.get("version")
    if not isinstance(model, str) or not model:
        raise _invalid("version", "version is required")
    texts = [text for text in (asked.get("system_prompt"), asked["prompt"]) if text]
    return Ask(
        model,
        "\n".join(texts),
        count_request(texts),
        stream=told.get("stream") is True,
        max_tokens=max_tokens,
    )


def prediction(ask: Ask, reply: Reply, status: str, urls: Mapping[str, str]) -> dict[str, Any]:
    """Return a prediction that has not ended."""
    return {
        "id": reply.id,
        "model": ask.model,
        "version": "hidden",
        "input": {"prompt": ask.text, "max_tokens": ask.max_tokens},
        "logs": "",
        "output": None,
        "data_removed": False,
        "error": None,
        "status": status,
        "created_at": _CREATED,
        "urls": urls,
    }


def whole(ask: Ask, reply: Reply) -> bytes:
    """Write a prediction that has ended; it counts its tokens, and says not why it ended."""
    document = prediction(ask, reply, "succeeded", {})
    document["output"] = list(reply.choices[0].tokens)
    document["completed_at"] = _CREATED
    document["metrics"] = {"predict_time": 0.1, "total_time": 0.2, **_counts(reply.usage)}
    return orjson.dumps(document)


def frames(_ask: Ask, reply: Reply) -> Iterator[Frame]:
    """Write the output as server-sent events, one token each; it has no finish reason to tell."""
    for n, token in enumerate(reply.choices[0].tokens):
        yield Frame(_event("output", n, token), tokens=1)
    if reply.done and reply.finished:
        yield Frame(_event("done", len(reply.choices[0].tokens), "{}"))


def error(trouble: Trouble, _request_id: str) -> bytes:
    """Write problem details; a field stands beside them."""
    problem: dict[str, Any] = {
        "title": trouble.kind or _TITLES.get(trouble.status, "Error"),
        "detail": trouble.message,
        "status": trouble.status,
    }
    if trouble.param is not None:
        field = {"type": "required", "field": trouble.param, "description": trouble.message}
        problem["invalid_fields"] = [field]
    return orjson.dumps(problem)


def error_event(document: bytes) -> bytes:
    """Write an error inside a stream."""
    return b"event: error\nid: 1690212292:0\ndata: " + document + b"\n\n"


def headers(ask: Ask | None, _request_id: str) -> dict[str, str]:
    """Return what Replicate says beside an answer."""
    if ask is None:
        return {}
    return {"ratelimit-limit": "600", "ratelimit-remaining": "599", "ratelimit-reset": "60"}


def models() -> bytes:
    """Write the collection of language models."""
    found = []
    for model in MODELS:
        owner, _, name = model.partition("/")
        facts = {"url": f"https://replicate.com/{model}", "visibility": "public", "run_count": 1}
        found.append({"owner": owner, "name": name, **facts})
    about = {"name": "Language models", "slug": "language-models", "description": "Simulated"}
    return orjson.dumps({**about, "models": found})


def account() -> bytes:
    """Write whose token it is."""
    return orjson.dumps({"type": "user", "username": "simulated", "name": "Simulated"})


def _invalid(field: str, message: str) -> Refused:
    return Refused(422, "", f"- {message}\n", field)


def _counts(usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    return {
        "input_token_count": usage.input_tokens,
        "output_token_count": usage.output_tokens,
    }


def _event(name: str, n: int, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"event: {name}\nid: 1690212292:{n}\n{lines}\n".encode()
