"""OpenAI's embeddings wire.

Vectors are asked for in base64, as the official clients do: a third of the bytes. Who does not
know it answers with numbers, which are read as well.
"""

from collections.abc import Callable, Mapping
from typing import Any

from compass_ray.providers import _openai_errors
from compass_ray.providers._embeddings import vector_of
from compass_ray.providers._json import as_object, load_object, objects
from compass_ray.providers._usage import usage_of
from compass_ray.providers.base import HttpCall, Target
from compass_ray.types.embeddings import Embedded, EmbeddingRequest
from compass_ray.types.errors import BadAnswer
from compass_ray.types.routing import Endpoint

Address = Callable[[str, Mapping[str, Any], Endpoint, Target], HttpCall]
"""From a path such as `embeddings` and a body to the call of an endpoint."""


class OpenAIEmbedder:
    """Implements `Embedder` for OpenAI and everything that speaks like it."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def ask(self, request: EmbeddingRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write `request`; every field of OpenAI's passes."""
        body = {name: value for name, value in request.body.items() if name != "compass"}
        body["model"] = endpoint.wire_model
        body["encoding_format"] = "base64"
        if endpoint.embedding is None or not endpoint.embedding.shortens:
            body.pop("dimensions", None)  # they are its own; older models do not know the field
        return self._address("embeddings", body, endpoint, target)

    def read(self, body: bytes) -> Embedded:
        """Read a list of embeddings."""
        answer = load_object(body)
        if answer.get("error") is not None:
            raise _openai_errors.in_answer(answer)
        data = objects("data", answer.get("data"))
        places = {one.get("index"): one.get("embedding") for one in data}
        if places.keys() != set(range(len(data))):
            raise BadAnswer("the provider does not say which embedding is whose")
        vectors = [vector_of(places[index]) for index in range(len(data))]
        usage = usage_of(as_object(answer.get("usage")).get("prompt_tokens"), 0)
        return Embedded(vectors, usage)
