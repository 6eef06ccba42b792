"""The providers' embeddings: chat's wires, except for what is asked and answered.

A vector is made from the model's name and the text: the same text gives the same vector, another
model another one, and a shorter one is the beginning of the longer, brought to the same length.
Sources: https://platform.openai.com/docs/api-reference/embeddings,
https://ai.google.dev/api/embeddings, https://huggingface.co/docs/inference-providers. Pure.
"""

import random
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

import orjson

from compass_ray.simulator import azure, body, google, huggingface, openai
from compass_ray.simulator.exchange import Ask, Frame, Refused, Reply, Trouble
from compass_ray.simulator.openai_request import invalid, opened
from compass_ray.simulator.tokens import count
from compass_ray.simulator.wire import Wire

DIMENSIONS = 64
_MOST_INPUTS = 2_048
_MOST_AT_GOOGLE = 100


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Implements `Wire` for the embeddings of a provider."""

    of: Wire
    read: Callable[[bytes, Mapping[str, str]], Ask]
    whole: Callable[[Ask, Reply], bytes]

    @property
    def NAME(self) -> str:  # noqa: N802  # a wire's constant
        """The provider's name."""
        return self.of.NAME

    def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str], /) -> None:
        """Raise Refused unless the request carries a key."""
        self.of.authenticate(headers, query)

    def frames(self, ask: Ask, reply: Reply, /) -> Iterator[Frame]:
        """Write the answer, which is never a stream, in one piece."""
        yield Frame(self.whole(ask, reply))

    def error(self, trouble: Trouble, request_id: str, /) -> bytes:
        """Write an error."""
        return self.of.error(trouble, request_id)

    def error_event(self, document: bytes, /) -> bytes:
        """Write an error inside a stream."""
        return self.of.error_event(document)

    def headers(self, ask: Ask | None, request_id: str, /) -> dict[str, str]:
        """Return the headers that go with an answer."""
        return self.of.headers(ask, request_id)

    def models(self) -> bytes:
        """Write the list of models."""
        return self.of.models()


def vector(model: str, text: str, dimensions: int) -> list[float]:
    """Return the unit vector of a text, in numbers of 32 bits."""
    rng = random.Random(f"{model}:{text}")  # noqa: S311  # the same text, the same vector
    raw = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = hypot(*raw)
    packed = struct.pack(f"<{dimensions}f", *(one / length for one in raw))
    return list(struct.unpack(f"<{dimensions}f", packed))


def _read_openai(raw: bytes, path: Mapping[str, str]) -> Ask:
    told, model = opened(raw)
    if told.get("encoding_format") not in (None, "float", "base64"):
        raise invalid("encoding_format must be 'float' or 'base64'", "encoding_format")
    dimensions = told.get("dimensions", DIMENSIONS)
    if body.whole(dimensions) is None or not 1 <= dimensions <= DIMENSIONS:
        raise invalid(f"'dimensions' must be between 1 and {DIMENSIONS}.", "dimensions")
    inputs = _inputs(told.get("input"))
    sizes = [count(one) if isinstance(one, str) else len(one) for one in inputs]
    texts = tuple(one if isinstance(one, str) else str(one) for one in inputs)
    return Ask(
        path.get("deployment") or model,
        "\n".join(texts),
        sum(sizes),
        choices=0,
        inputs=texts,
        dimensions=dimensions,
        base64=told.get("encoding_format") == "base64",
    )


def _inputs(told: Any) -> list[Any]:
    if isinstance(told, str) or (told and _is_ids(told)):
        told = [told]
    if not isinstance(told, list) or not told or len(told) > _MOST_INPUTS:
        raise invalid(f"input must hold 1 to {_MOST_INPUTS} entries.", "input")
    for one in told:
        if not one or not (isinstance(one, str) or _is_ids(one)):
            raise invalid("'$.input' is invalid.", "input")
    return told


def _is_ids(told: Any) -> bool:
    return isinstance(told, list) and all(body.whole(one) is not None for one in told)


def _whole_openai(ask: Ask, reply: Reply) -> bytes:
    data = [
        {"object": "embedding", "index": index, "embedding": _written(one, base64=ask.base64)}
        for index, one in enumerate(_vectors(ask))
    ]
    document: dict[str, Any] = {"object": "list", "data": data, "model": reply.model}
    if (usage := reply.usage) is not None:
        tokens = usage.input_tokens
        document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps(document)


def _vectors(ask: Ask) -> list[list[float]]:
    return [vector(ask.model, text, ask.dimensions) for text in ask.inputs]


def _written(one: list[float], *, base64: bool) -> Any:
    return b64encode(struct.pack(f"<{len(one)}f", *one)).decode() if base64 else one


def _read_azure(raw: bytes, path: Mapping[str, str]) -> Ask:
    if path.get("deployment") is not None and not path.get("api-version"):
        raise Refused(404, "404", "Resource not found")
    return _read_openai(raw, path)


def _read_google(raw: bytes, path: Mapping[str, str]) -> Ask:
    told = (body.load(raw) or {}).get("requests")
    if not isinstance(told, list) or not 1 <= len(told) <= _MOST_AT_GOOGLE:
        raise Refused(
            400, "INVALID_ARGUMENT", f"at most {_MOST_AT_GOOGLE} requests can be in one batch"
        )
    name = f"models/{path['model']}"
    if any(one.get("model") != name for one in told):
        raise Refused(400, "INVALID_ARGUMENT", f"requests.model must be {name!r}")
    texts = tuple("".join(body.texts(one.get("content"))) for one in told)
    dimensions = told[0].get("outputDimensionality", DIMENSIONS)
    if body.whole(dimensions) is None or not 1 <= dimensions <= DIMENSIONS:
        raise Refused(400, "INVALID_ARGUMENT", "outputDimensionality is out of range")
    tokens = sum(map(count, texts))
    return Ask(
        path["model"], "\n".join(texts), tokens, choices=0, inputs=texts, dimensions=dimensions
    )


def _whole_google(ask: Ask, reply: Reply) -> bytes:
    document: dict[str, Any] = {"embeddings": [{"values": one} for one in _vectors(ask)]}
    if (usage := reply.usage) is not None:
        document["usageMetadata"] = {"promptTokenCount": usage.input_tokens}
    return orjson.dumps(document)


def _read_huggingface(raw: bytes, path: Mapping[str, str]) -> Ask:
    told = (body.load(raw) or {}).get("inputs")
    texts = [told] if isinstance(told, str) else told
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise Refused(422, "", "inputs must be a string or an array of strings")
    tokens = sum(map(count, texts))
    return Ask(
        path["model"],
        "\n".join(texts),
        tokens,
        choices=0,
        inputs=tuple(texts),
        dimensions=DIMENSIONS,
    )


def _whole_huggingface(ask: Ask, _reply: Reply) -> bytes:
    return orjson.dumps(_vectors(ask))


_OPENAI = Embeddings(openai, _read_openai, _whole_openai)
_AZURE = Embeddings(azure, _read_azure, _whole_openai)
ASKS: tuple[tuple[Wire, str], ...] = (
    (_OPENAI, "/openai/v1/embeddings"),
    (_AZURE, "/azure/openai/v1/embeddings"),
    (_AZURE, "/azure/openai/deployments/{deployment}/embeddings"),
    (
        Embeddings(huggingface, _read_huggingface, _whole_huggingface),
        "/huggingface/hf-inference/models/{model:.+}/pipeline/feature-extraction",
    ),
    (
        Embeddings(google, _read_google, _whole_google),
        "/google/{version:v1|v1beta}/models/{model}:batchEmbedContents",
    ),
)
