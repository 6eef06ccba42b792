"""What a request asks and what is answered, in no provider's words. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `schema` is the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for an answer.

    `text` is all that was said, for scripts to match. `forced` is the tool that must be called.
    `schema` is what the text must be valid for; None if it may be any text. `after_tool`: what
    was said last is a tool's result.
    """

    model: str
    text: str
    input_tokens: int
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    choices: int = 1
    tools: tuple[Tool, ...] = ()
    forced: Tool | None = None
    schema: Mapping[str, Any] | None = None
    after_tool: bool = False
    tier: str = "default"
    """The service tier that is asked for, which is the one that is given."""
    inputs: tuple[str, ...] = ()
    """What vectors are asked for, of so many `dimensions`, written in `base64` or as numbers."""
    dimensions: int = 0
    base64: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; `tokens` make up its JSON arguments."""

    tool: str
    id: str
    tokens: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """All of them."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer, token by token: the text, or what its calls of tools consist of."""

    tokens: tuple[str, ...]
    finish: Finish
    calls: tuple[Call, ...] = ()

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts that the answer tells, true or not."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered, and what of it is left unsaid.

    `usage` None: no counts. `finished` False: no finish reason. `done` False: a stream ends
    without its last event.
    """

    id: str
    number: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None
    finished: bool = True
    done: bool = True


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes that are written at once; `tokens` were produced for them."""

    data: bytes
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error to write in a provider's shape; `retry_info` is Google's delay, like "3s"."""

    status: int
    kind: str | None
    message: str
    param: str | None = None
    retry_info: str | None = None


class Refused(Exception):
    """A request that the provider would not accept."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        """Say what is wrong as the provider would say it."""
        super().__init__(message)
        self.trouble = Trouble(status, kind, message, param)
