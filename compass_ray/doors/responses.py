"""OpenAI's Responses API, stateless. What is translated and what refused, see `responses_request`.

Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from compass_ray.doors import responses_answer, responses_request
from compass_ray.doors.base import Headers, Visit
from compass_ray.doors.chat import error_body
from compass_ray.doors.errors import renamed
from compass_ray.doors.fields import dump, load
from compass_ray.doors.responses_stream import EventWriter
from compass_ray.types.errors import CompassError
from compass_ray.types.requests import Kind
from compass_ray.types.usage import Usage


class ResponsesDoor:
    """Implements `Door` for `POST /v1/responses`."""

    path = "/v1/responses"
    kind: Kind = "chat"

    def enter(self, raw: bytes) -> tuple[bytes, Visit]:
        """Read a request for a response.

        Raises:
            InvalidRequest: a field is malformed, or cannot be said in the normal form.
        """
        told = load(raw)
        body, conversation = responses_request.read(told)
        return dump(body), _ResponsesVisit(told, conversation.origins)

    def error(self, error: CompassError, request_id: str) -> dict[str, Any]:
        """Return OpenAI's error object."""
        return error_body(error, request_id)

    def headers(self, request_id: str) -> Headers:  # noqa: ARG002  # Compass's own say it
        """Return none: Serve itself tells `x-request-id`, which OpenAI's SDKs look for."""
        return []


class _ResponsesVisit:
    """One request for a response."""

    __slots__ = ("_origins", "_told", "_writer")

    def __init__(self, told: Mapping[str, Any], origins: Sequence[str]) -> None:
        self._told = told
        self._origins = origins
        self._writer = EventWriter(told)

    def answer(self, body: Mapping[str, Any], charged: Usage | None) -> bytes:
        return orjson.dumps(responses_answer.write(self._told, body, charged))

    def event(self, chunk: Mapping[str, Any]) -> bytes:
        return self._writer.chunk(chunk)

    def end(self, charged: Usage | None) -> bytes:
        return self._writer.end(charged)

    def failure(self, error: CompassError, request_id: str) -> bytes:
        return self._writer.failure(error, request_id)

    def named(self, error: CompassError) -> CompassError:
        return renamed(error, responses_request.NAMES, self._origins)
