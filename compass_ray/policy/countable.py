"""What of a request a tokenizer can count exactly, as OpenAI's chat models read it. Pure.

Every message takes 3 tokens beside its role and its text, a name 1 more, and the answer's beginning
3: OpenAI's own recipe (https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken).
How tools, schemas, pictures and documents are put into words is nobody's knowledge but the
provider's.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from compass_ray.types.chat import ChatRequest

_PER_MESSAGE = 3
_PER_NAME = 1
_ANSWER = 3
_SAID_ELSEWHERE = frozenset({"tools", "functions", "response_format"})
_TEXT_FIELDS = frozenset({"role", "content", "name"})


class Countable(NamedTuple):
    """The texts to be tokenized, and what comes to their tokens."""

    texts: tuple[str, ...]
    beside: int


def countable(request: ChatRequest) -> Countable | None:
    """Return what is to be counted; None where there is more to it than text."""
    body = request.body
    if not _SAID_ELSEWHERE.isdisjoint(body):
        return None
    texts: list[str] = []
    beside = _ANSWER
    for message in body["messages"]:
        if any(message[field] is not None for field in message.keys() - _TEXT_FIELDS):
            return None
        said = _text(message)
        if said is None:
            return None
        texts += [message["role"], *said]
        beside += _PER_MESSAGE
        if message.get("name") is not None:
            texts.append(message["name"])
            beside += _PER_NAME
    return Countable(tuple(texts), beside)


def _text(message: Mapping[str, Any]) -> tuple[str, ...] | None:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return (content or "",)
    parts = tuple(_parts(content))
    return None if None in parts else tuple(part for part in parts if part is not None)


def _parts(content: list[Mapping[str, Any]]) -> Iterator[str | None]:
    for part in content:
        yield part.get("text") if part.get("type") == "text" else None
