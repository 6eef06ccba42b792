"""Anthropic's Messages API. What is translated and what refused, see `messages_request`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from compass_ray.doors import messages_answer, messages_request
from compass_ray.doors.base import Headers, Visit
from compass_ray.doors.errors import renamed
from compass_ray.doors.fields import dump, load
from compass_ray.doors.messages_stream import EventWriter, written
from compass_ray.types.errors import CompassError
from compass_ray.types.requests import Kind
from compass_ray.types.usage import Usage


class MessagesDoor:
    """Implements `Door` for `POST /v1/messages`."""

    path = "/v1/messages"
    kind: Kind = "chat"

    def enter(self, raw: bytes) -> tuple[bytes, Visit]:
        """Read a message request.

        Raises:
            InvalidRequest: a field is malformed, or cannot be said in the normal form.
        """
        return self._enter(raw, answered=True)

    def count(self, raw: bytes) -> tuple[bytes, Visit]:
        """Read a request to count the tokens of a message request.

        Raises:
            InvalidRequest: as `enter`; nothing limits an answer that is not given.
        """
        return self._enter(raw, answered=False)

    def _enter(self, raw: bytes, *, answered: bool) -> tuple[bytes, Visit]:
        told = load(raw)
        body, conversation = messages_request.read(told, answered=answered)
        thinking = told.get("thinking")
        shows = not isinstance(thinking, dict) or thinking.get("display") != "omitted"
        return dump(body), _MessagesVisit(conversation.origins, shows_thoughts=shows)

    def error(self, error: CompassError, request_id: str) -> dict[str, Any]:
        """Return Anthropic's error object."""
        return messages_answer.error_body(error, request_id)

    def headers(self, request_id: str) -> Headers:
        """Return the id under the name that Anthropic's SDKs know."""
        return [(b"request-id", request_id.encode())]


class _MessagesVisit:
    """One message request."""

    __slots__ = ("_origins", "_shows_thoughts", "_writer")

    def __init__(self, origins: Sequence[str], *, shows_thoughts: bool) -> None:
        self._origins = origins
        self._shows_thoughts = shows_thoughts
        self._writer = EventWriter(shows_thoughts=shows_thoughts)

    def answer(self, body: Mapping[str, Any], charged: Usage | None) -> bytes:
        shows = self._shows_thoughts
        return orjson.dumps(messages_answer.write(body, charged, shows_thoughts=shows))

    def event(self, chunk: Mapping[str, Any]) -> bytes:
        return self._writer.chunk(chunk)

    def end(self, charged: Usage | None) -> bytes:
        return self._writer.end(charged)

    def failure(self, error: CompassError, request_id: str) -> bytes:
        return written(messages_answer.error_body(error, request_id))

    def named(self, error: CompassError) -> CompassError:
        return renamed(error, messages_request.NAMES, self._origins)
