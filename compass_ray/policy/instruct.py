"""A schema that a model cannot be told by a field, told in words, and the answer held to it. Pure.

Who is told in words may talk, fence its JSON or miss the schema: so its answer is checked before
anybody sees it, and it is told once what was wrong. What cannot be checked is not promised.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from compass_ray.policy.checkable import uncheckable
from compass_ray.policy.wellformed import UNCHECKED, Flaw, flaw_by_schema
from compass_ray.types.chat import Answer, ChatRequest
from compass_ray.types.errors import InvalidRequest
from compass_ray.types.routing import Endpoint

__all__ = [
    "Missed",
    "instructed",
    "is_instructed",
    "kept",
    "may_be_mended",
    "mended",
    "missed",
]

_FIELD = "response_format.json_schema.schema"
_SYSTEM = frozenset({"system", "developer"})
_FENCED = re.compile(r"\s*```\w*\n(.*)\n```\s*", re.DOTALL)
_MOST_BYTES = 16_384
"""Of a schema in words: some 4,000 tokens, on top of every prompt."""
_QUOTED_CHARS = 20_000

Missed = tuple[str, Flaw]
"""What was said, and what is wrong with it."""


def is_instructed(request: ChatRequest, endpoint: Endpoint) -> bool:
    """Return whether the endpoint has to be told the answer's schema in words."""
    return "json_schema" in request.needs and "json_schema" not in endpoint.capabilities


def instructed(request: ChatRequest, *, json_mode: bool) -> ChatRequest:
    """Return the request for a whole answer with the schema among its messages.

    `json_mode`: the endpoint's provider can be told that the answer is some JSON object.

    Raises:
        InvalidRequest: there is no schema, or none that an answer can be held to.
    """
    schema = _schema(request)
    _refuse_unfit(schema)
    said = request.body["response_format"]["json_schema"].get("description")
    first = "When you call no tool, answer" if "tools" in request.needs else "Answer"
    words = (
        f"{first} with one JSON value that is valid by the JSON schema below, and with nothing "
        f"else: no prose, no code fence.{f' It is: {said}' if said else ''}\n"
        f"{orjson.dumps(schema).decode()}"
    )
    whole = request.in_one_piece()
    body = {name: value for name, value in whole.body.items() if name != "response_format"}
    body["messages"] = _with_instruction(body["messages"], words)
    if json_mode and "tools" not in request.needs and schema.get("type") == "object":
        body["response_format"] = {"type": "json_object"}
    return replace(
        whole,
        body=body,
        needs=request.needs - {"json_schema"},
        input_bytes=request.input_bytes + len(words.encode()),
    )


def kept(answer: Answer) -> Answer:
    """Return an answer without the fences around its JSON."""
    choices = [_unfenced(choice) for choice in answer.body["choices"]]
    return answer._replace(body={**answer.body, "choices": choices})


def missed(request: ChatRequest, answer: Answer) -> Missed | None:
    """Return where an answer misses the schema of the caller's own `request`; None: nowhere.

    As from a provider that knows schemas, a refusal, the call of a tool, and what a limit or a
    filter has cut off are answers of another kind.
    """
    for choice in answer.body["choices"]:
        message = choice["message"]
        if choice.get("finish_reason") != "stop" or message.get("refusal"):
            continue
        if message.get("tool_calls"):
            continue
        text = message.get("content") or ""
        flaw = flaw_by_schema(text, _schema(request))
        if flaw is not None:
            return text, flaw
    return None


def may_be_mended(miss: Missed) -> bool:
    """Return whether it is known what was wrong, so that it can be said."""
    return miss[1] not in UNCHECKED


def mended(request: ChatRequest, miss: Missed) -> ChatRequest:
    """Return an instructed request again, with what was said to it and what is wrong with that."""
    text, flaw = miss[0][:_QUOTED_CHARS], miss[1]
    words = f"Your answer {flaw}. Give it again, as nothing but JSON that is valid by the schema."
    turns = [{"role": "user", "content": words}]
    if text.strip():
        turns.insert(0, {"role": "assistant", "content": text})
    added = len(text.encode(errors="replace")) + len(words.encode())
    return replace(
        request,
        body={**request.body, "messages": [*request.body["messages"], *turns]},
        input_bytes=request.input_bytes + added,
    )


def _schema(request: ChatRequest) -> Mapping[str, Any]:
    schema: Any = request.body["response_format"]["json_schema"].get("schema")
    return schema if isinstance(schema, dict) else {}


def _refuse_unfit(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that is missing, or that nobody can hold an answer to."""
    why = "is missing" if not schema else uncheckable(schema)
    if why is None and len(orjson.dumps(schema)) > _MOST_BYTES:
        why = f"has more than {_MOST_BYTES} bytes"
    if why is None:
        return
    raise InvalidRequest(
        f"the chosen model has to be told the schema in words, and {_FIELD} {why}",
        code="unsupported_parameter",
        param=_FIELD,
    )


def _with_instruction(messages: list[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    """Add to the system prompt: many a model's template takes only one, and only in front."""
    first = messages[0]
    if first["role"] not in _SYSTEM:
        return [{"role": "system", "content": words}, *messages]
    content = first["content"]
    told: Any = f"{content}\n\n{words}"
    if not isinstance(content, str):
        told = [*content, {"type": "text", "text": words}]
    return [{**first, "content": told}, *messages[1:]]


def _unfenced(choice: dict[str, Any]) -> dict[str, Any]:
    text = choice["message"].get("content")
    if not isinstance(text, str):
        return choice
    found = _FENCED.fullmatch(text)
    if found is None:
        return choice
    return {**choice, "message": {**choice["message"], "content": found[1]}}
