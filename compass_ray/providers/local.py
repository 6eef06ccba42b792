"""The wire of the local engine, llama.cpp's OpenAI-compatible server."""

from typing import Any

from compass_ray.providers.openai import OpenAIWire
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Endpoint


class LocalWire(OpenAIWire):
    """The same, except that the output is always limited: llama.cpp's own default is endless.

    And that an answer can be begun for the model, and that it makes no embeddings.
    """

    embedder = None

    def prefills(self, endpoint: Endpoint) -> bool:  # noqa: ARG002  # the engine's, not the model's
        """Return True: llama.cpp's server does by default (`--prefill-assistant`)."""
        return True

    def _body(self, request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
        body = super()._body(request, endpoint)
        body.pop("max_completion_tokens", None)
        body["max_tokens"] = endpoint.output_limit(request.max_output_tokens)
        return body
