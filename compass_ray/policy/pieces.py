"""A whole answer as the chunks of a stream. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any


def in_pieces(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the `chat.completion.chunk` objects that say what a `chat.completion` does.

    Each choice is two of them, what it says and how it ends; usage comes last, without a choice.
    """
    head = {name: body[name] for name in ("id", "created", "model") if name in body}
    head["object"] = "chat.completion.chunk"
    for choice in body["choices"]:
        about = {"index": choice.get("index", 0), "logprobs": choice.get("logprobs")}
        yield {
            **head,
            "choices": [{**about, "delta": _delta(choice["message"]), "finish_reason": None}],
        }
        ended = {"delta": {}, "logprobs": None, "finish_reason": choice.get("finish_reason")}
        yield {**head, "choices": [{**about, **ended}]}
    if body.get("usage") is not None:
        yield {**head, "choices": [], "usage": body["usage"]}


def _delta(message: Mapping[str, Any]) -> dict[str, Any]:
    delta = dict(message)
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(calls)]
    return delta
