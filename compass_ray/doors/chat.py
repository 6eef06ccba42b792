"""OpenAI's chat completions and embeddings: the normal form itself, nothing is translated. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from compass_ray.doors import errors
from compass_ray.doors.base import Headers, Visit
from compass_ray.types.errors import CompassError
from compass_ray.types.requests import Kind
from compass_ray.types.usage import Usage

_DONE = b"data: [DONE]\n\n"


def error_body(error: CompassError, request_id: str) -> dict[str, Any]:
    """Return OpenAI's error object, with what Compass knows beside it."""
    return {"error": errors.facts(error, request_id)}


class ChatDoor:
    """Implements `Door` for `POST /v1/chat/completions`."""

    path = "/v1/chat/completions"
    kind: Kind = "chat"

    def enter(self, raw: bytes) -> tuple[bytes, Visit]:
        """Return the body as it came."""
        return raw, _VISIT

    def error(self, error: CompassError, request_id: str) -> dict[str, Any]:
        """Return OpenAI's error object."""
        return error_body(error, request_id)

    def headers(self, request_id: str) -> Headers:  # noqa: ARG002  # Compass's own say it
        """Return none: Serve itself tells `x-request-id`, which OpenAI's SDKs look for."""
        return []


class EmbeddingsDoor(ChatDoor):
    """The same for `POST /v1/embeddings`."""

    path = "/v1/embeddings"
    kind: Kind = "embeddings"


class _ChatVisit:
    """Every visit alike: nothing is remembered."""

    __slots__ = ()

    def answer(self, body: Mapping[str, Any], charged: Usage | None) -> bytes:  # noqa: ARG002  # OpenAI's usage may be absent
        return orjson.dumps(body)

    def event(self, chunk: Mapping[str, Any]) -> bytes:
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def end(self, charged: Usage | None) -> bytes:  # noqa: ARG002  # a chunk has told it
        return _DONE

    def failure(self, error: CompassError, request_id: str) -> bytes:
        return self.event(error_body(error, request_id))

    def named(self, error: CompassError) -> CompassError:
        return error


_VISIT = _ChatVisit()
