"""Google's generateContent wire. What is translated, and what is refused, see `google_request`."""

from collections.abc import Mapping
from typing import Any

from compass_ray.providers import google_answer, google_errors, google_request
from compass_ray.providers._embeddings import texts_of, vector_of
from compass_ray.providers._fields import inexpressible
from compass_ray.providers._json import as_object, count_of, dump, load_object, objects
from compass_ray.providers._usage import usage_of
from compass_ray.providers.base import HttpCall, StreamState, Target
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.embeddings import Embedded, EmbeddingRequest
from compass_ray.types.errors import CompassError
from compass_ray.types.routing import Endpoint

_MOST_INPUTS = 100


class GoogleCounting:
    """Implements `Counting`: free of charge."""

    def ask(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write the whole request, so that tools and instructions count, too."""
        asked = {
            "model": f"models/{endpoint.wire_model}",
            **google_request.write(request, endpoint),
        }
        return _call("countTokens", {"generateContentRequest": asked}, endpoint, target)

    def read(self, body: bytes) -> int:
        """Read the count."""
        return count_of(load_object(body), "totalTokens")


class GoogleEmbedder:
    """Implements `Embedder` by batchEmbedContents."""

    def ask(self, request: EmbeddingRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write each input as a request of its own within the one call."""
        texts = texts_of(request)
        if len(texts) > _MOST_INPUTS:
            raise inexpressible("input", f"Google takes at most {_MOST_INPUTS} inputs at once")
        common: dict[str, Any] = {"model": f"models/{endpoint.wire_model}"}
        if request.dimensions is not None:
            common["outputDimensionality"] = request.dimensions
        asked = [{**common, "content": {"parts": [{"text": text}]}} for text in texts]
        return _call("batchEmbedContents", {"requests": asked}, endpoint, target)

    def read(self, body: bytes) -> Embedded:
        """Read a BatchEmbedContentsResponse; not every model tells its usage."""
        answer = load_object(body)
        if answer.get("error") is not None:
            raise google_errors.in_answer(answer)
        vectors = [
            vector_of(one.get("values")) for one in objects("embeddings", answer.get("embeddings"))
        ]
        told = as_object(answer.get("usageMetadata"))
        return Embedded(vectors, usage_of(told.get("promptTokenCount"), 0))


class GoogleWire:
    """Implements `Wire` for generativelanguage.googleapis.com."""

    further = None
    counting = GoogleCounting()
    embedder = GoogleEmbedder()
    json_mode = True
    rate_limits = ()

    def prefills(self, endpoint: Endpoint) -> bool:  # noqa: ARG002  # no model of Google's does
        """Return False: Google documents no such thing for the last turn of `model`."""
        return False

    def encode(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write `request` as a generateContent request."""
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return _call(method, google_request.write(request, endpoint), endpoint, target)

    def decode(self, body: bytes, state: StreamState) -> Answer:
        """Read a GenerateContentResponse."""
        document = load_object(body)
        if document.get("error") is not None:
            raise google_errors.in_answer(document)
        return google_answer.read(document, state)

    def decode_chunk(self, event: str, data: bytes, state: StreamState) -> list[Chunk]:  # noqa: ARG002  # this wire names no events
        """Read one GenerateContentResponse of a stream."""
        document = load_object(data)
        if document.get("error") is not None:
            raise google_errors.in_answer(document)
        return google_answer.read_event(document, state)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
        """Read Google's error object."""
        return google_errors.read(status, headers, body)


def _call(method: str, body: Mapping[str, Any], endpoint: Endpoint, target: Target) -> HttpCall:
    headers = {"content-type": "application/json"}
    if target.key is not None:
        headers["x-goog-api-key"] = target.key
    url = f"{target.base_url}/v1beta/models/{endpoint.wire_model}:{method}"
    return HttpCall(url, headers, dump(body))
