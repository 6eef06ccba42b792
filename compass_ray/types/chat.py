"""A chat request and its answer in Compass's normal form.

The normal form of a chat is OpenAI's chat-completions JSON: it is what most callers send and
most providers answer. `ChatRequest.body` is that JSON as parsed, never mutated; the other
fields are the facts that classification, selection and admission need, extracted once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple

from compass_ray.types.routing import Capability, Preferences
from compass_ray.types.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A validated request."""

    body: Mapping[str, Any]
    model: str
    """`auto`, a model name, or `provider/model`."""
    text: str
    """All text of all messages, joined by newlines: what classification reads."""
    last_user_text: str
    needs: frozenset[Capability]
    stream: bool = False
    include_usage: bool = False
    max_output_tokens: int | None = None
    n: int = 1
    images: int = 0
    input_bytes: int = 0
    """UTF-8 bytes of everything that becomes input tokens: an upper bound of their number."""
    preferences: Preferences = field(default_factory=Preferences)
    windows: ClassVar[int] = 1
    """How many context windows its input may fill."""

    def in_one_piece(self) -> "ChatRequest":
        """Return a request for the same answer that is no stream."""
        if not self.stream:
            return self
        streams = ("stream", "stream_options")
        body = {name: value for name, value in self.body.items() if name not in streams}
        return replace(self, body=body, stream=False, include_usage=False)


class Answer(NamedTuple):
    """A whole answer: `body` is an OpenAI `chat.completion` object, or its `list` of embeddings."""

    body: dict[str, Any]
    usage: Usage | None
    """None where the provider did not say."""
    finish_reason: FinishReason | None = None
    """None for embeddings."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a streamed answer.

    `body` is an OpenAI `chat.completion.chunk` object, or None where the provider's event has
    nothing for the caller. `output_chars` counts the text it carries, for estimates after a
    break. `usage` is the provider's latest word, cumulative. `done` marks the terminal event.
    """

    body: dict[str, Any] | None
    output_chars: int = 0
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    done: bool = False
