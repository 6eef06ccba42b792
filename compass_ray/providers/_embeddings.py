"""From what a provider made of the inputs to OpenAI's answer. Pure.

A vector is looked at before it is passed on: one for each input, of as many dimensions as were
asked for, and nothing in it but finite numbers. What is stored in an index is not noticed later.
"""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from compass_ray.providers._fields import Handling, inexpressible, refuse_inexpressible
from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Answer
from compass_ray.types.embeddings import Embedded, EmbeddingRequest, Encoding, Vector
from compass_ray.types.errors import BadAnswer
from compass_ray.types.routing import Endpoint

FIELDS: Mapping[str, Handling] = {
    "compass": "advisory",  # ours; the router has read it
    "dimensions": "translated",
    "encoding_format": "translated",
    "input": "translated",
    "model": "translated",
    "user": "advisory",
}
"""What becomes of OpenAI's fields on a wire that is not OpenAI's, see `_fields`."""

_FLOAT = np.dtype("<f4")


def texts_of(request: EmbeddingRequest) -> list[str]:
    """Return the inputs for a wire that takes texts only.

    Raises:
        InvalidRequest: there are token ids, which only the tokenizer's own maker can read, or a
            field that OpenAI's wire alone knows.
    """
    refuse_inexpressible(request.body, FIELDS)
    texts = [one for one in request.inputs if isinstance(one, str)]
    if len(texts) < len(request.inputs):
        raise inexpressible("input", "the chosen provider takes texts, and no token ids")
    return texts


def vector_of(told: Any) -> Vector:
    """Return a vector, told as numbers or as the base64 of 32-bit floats.

    Raises:
        BadAnswer: it is neither.
    """
    try:
        if isinstance(told, str):
            return np.frombuffer(b64decode(told, validate=True), _FLOAT)
        if isinstance(told, list) and all(type(one) in (float, int) for one in told):
            with np.errstate(over="ignore"):  # infinity is found later
                return np.array(told, _FLOAT)
    except (Error, OverflowError, ValueError):
        pass
    raise BadAnswer("an embedding of the provider's answer is not a vector")


def answer_of(
    embedded: Embedded, request: EmbeddingRequest, endpoint: Endpoint, state: StreamState
) -> Answer:
    """Return OpenAI's `list` of embeddings, without its usage: what is charged says it.

    Raises:
        BadAnswer: it is not a vector for each input, or vectors are not what was asked for.
    """
    vectors, inputs = embedded.vectors, len(request.inputs)
    if len(vectors) != inputs:
        raise BadAnswer(f"{len(vectors)} vectors came for {inputs} inputs")
    card = endpoint.embedding
    wanted = request.dimensions or (card.dimensions if card is not None else None)
    for vector in vectors:
        if vector.size != wanted:
            raise BadAnswer(f"a vector of {vector.size} dimensions came, not of {wanted}")
        if not np.isfinite(vector).all():
            raise BadAnswer("a vector holds what is not a number")
    data = [
        {"object": "embedding", "index": index, "embedding": _written(vector, request.encoding)}
        for index, vector in enumerate(vectors)
    ]
    return Answer({"object": "list", "data": data, "model": state.model}, embedded.usage)


def _written(vector: Vector, encoding: Encoding) -> str | orjson.Fragment:
    """Write numbers at once: as Python's own they take nine times the room."""
    if encoding == "base64":
        return b64encode(vector.astype(_FLOAT, copy=False).tobytes()).decode()
    return orjson.Fragment(orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY))
