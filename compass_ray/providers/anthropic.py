"""Anthropic's Messages wire. What is translated, and what is refused, see `anthropic_request`."""

from collections.abc import Mapping
from typing import Any

from compass_ray.providers import (
    _rate_limits,
    anthropic_answer,
    anthropic_errors,
    anthropic_request,
)
from compass_ray.providers._json import count_of, dump, load_object
from compass_ray.providers.anthropic_models import generation
from compass_ray.providers.base import HttpCall, StreamState, Target
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.errors import CompassError
from compass_ray.types.routing import Endpoint

VERSION = "2026-10-21"
"""The API version whose types `tests/providers` holds this wire to."""

SAMPLING_VERSION = "2023-06-01"
"""The last version with `temperature` and `top_p`, for the models that still have them."""


_COUNTED = ("messages", "model", "output_config", "system", "thinking", "tool_choice", "tools")


class AnthropicCounting:
    """Implements `Counting`: free of charge, with a rate limit of its own."""

    def ask(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write the request without what has no part in its input."""
        body = anthropic_request.write(request, endpoint, generation(endpoint.wire_model))
        counted = {name: body[name] for name in _COUNTED if name in body}
        return _call("/v1/messages/count_tokens", counted, target)

    def read(self, body: bytes) -> int:
        """Read the count."""
        return count_of(load_object(body), "input_tokens")


class AnthropicWire:
    """Implements `Wire` for api.anthropic.com."""

    further = None
    embedder = None
    json_mode = False
    counting = AnthropicCounting()
    rate_limits = _rate_limits.ANTHROPIC

    def prefills(self, endpoint: Endpoint) -> bool:
        """Return whether the model is older than 4.6."""
        return generation(endpoint.wire_model).prefills

    def encode(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write `request` as a message request."""
        body = anthropic_request.write(request, endpoint, generation(endpoint.wire_model))
        return _call("/v1/messages", body, target)

    def decode(self, body: bytes, state: StreamState) -> Answer:
        """Read a message."""
        message = load_object(body)
        if message.get("type") == "error":
            raise anthropic_errors.in_answer(message)
        return anthropic_answer.read(message, state)

    def decode_chunk(self, event: str, data: bytes, state: StreamState) -> list[Chunk]:  # noqa: ARG002  # the data repeats the event's name
        """Read one event; kinds of events that are not known are skipped, as Anthropic asks."""
        document = load_object(data)
        if document.get("type") == "error":
            raise anthropic_errors.in_answer(document)
        return anthropic_answer.read_event(document, state)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
        """Read Anthropic's error object."""
        return anthropic_errors.read(status, headers, body)


def _call(path: str, body: Mapping[str, Any], target: Target) -> HttpCall:
    samples = "temperature" in body or "top_p" in body
    headers = {
        "content-type": "application/json",
        "anthropic-version": SAMPLING_VERSION if samples else VERSION,
    }
    if target.key is not None:
        headers["x-api-key"] = target.key
    return HttpCall(f"{target.base_url}{path}", headers, dump(body))
