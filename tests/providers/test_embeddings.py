"""What every wire that makes embeddings keeps, with the official SDKs as oracles."""

from base64 import b64encode
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from google.genai import types as google
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.embedding_create_params import EmbeddingCreateParams

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse_embeddings import parse_embeddings
from compass_ray.providers._embeddings import answer_of, vector_of
from compass_ray.providers.base import StreamState, Target
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import KINDS, wire
from compass_ray.types.embeddings import Embedded
from compass_ray.types.errors import BadAnswer, CompassError, InvalidRequest
from compass_ray.types.routing import Embedding, Endpoint, Tier
from compass_ray.types.settings import TimeoutSettings

EMBED = ("openai", "azure", "google", "huggingface")
each_wire = pytest.mark.parametrize("kind", EMBED)
TARGET = Target("https://api.example.com/v1", "sk-canary-000000000000")
STATE = StreamState("id", 1, "e")


def asked(**fields):
    return parse_embeddings(orjson.dumps({"model": "e", "input": "hi"} | fields), Limits())


def endpoint(kind, dimensions=2, *, shortens=True):
    return Endpoint(
        kind, "e", "owner/e", Tier.SPECIALIZED, 512, 0, embedding=Embedding(dimensions, shortens)
    )


def call(kind, request, **card):
    return wire(kind).embedder.ask(request, endpoint(kind, **card), TARGET)


def sent(kind, request, **card):
    return orjson.loads(call(kind, request, **card).body)


def answered(kind, vectors, tokens=7):
    """Return an answer in the provider's words."""
    if kind == "google":
        told = {"embeddings": [{"values": one} for one in vectors]}
        return told if tokens is None else told | {"usageMetadata": {"promptTokenCount": tokens}}
    if kind == "huggingface":
        return vectors
    data = [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(vectors)]
    told = {"object": "list", "model": "owner/e", "data": data}
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return told if tokens is None else told | {"usage": usage}


def read(kind, told, request=None, **card):
    embedded = wire(kind).embedder.read(orjson.dumps(told))
    return answer_of(embedded, request or asked(), endpoint(kind, **card), STATE)


def numbers(answer):
    return [one["embedding"] for one in orjson.loads(orjson.dumps(answer.body))["data"]]


def test_the_wires_that_make_embeddings_are_known():
    assert {kind for kind in KINDS if wire(kind).embedder is not None} == set(EMBED)


@pytest.mark.parametrize("kind", ["openai", "azure"])
@pytest.mark.parametrize("said", ["hi", ["hi", "ho"], [1, 2], [[1], [2, 3]]])
def test_a_request_is_what_the_official_client_sends(kind, said, conforms):
    request = asked(input=said, dimensions=1, user="u", encoding_format="float", compass={})

    body = sent(kind, request)

    conforms(body, EmbeddingCreateParams)
    assert body == {
        "model": "owner/e",
        "input": said,
        "dimensions": 1,
        "user": "u",
        "encoding_format": "base64",
    }


def test_a_model_that_cannot_shorten_is_not_told_its_own_dimensions():
    assert "dimensions" not in sent("openai", asked(dimensions=2), shortens=False)


def test_google_is_sent_what_its_client_sends():
    (body,) = sent("google", asked(dimensions=1))["requests"]

    assert body.pop("model") == "models/owner/e"
    google.Content.model_validate(body.pop("content"))
    assert body == {"outputDimensionality": 1}
    assert len(sent("google", asked(input=["a", "b"]))["requests"]) == 2


def test_hugging_face_is_asked_to_refuse_what_is_too_long():
    made = call("huggingface", asked(input=["a", "b"]))

    assert made.url == (
        "https://api.example.com/hf-inference/models/owner/e/pipeline/feature-extraction"
    )
    assert orjson.loads(made.body) == {"inputs": ["a", "b"], "truncate": False}


@each_wire
def test_the_key_travels_in_a_header_only(kind):
    made = call(kind, asked())

    assert any("sk-canary" in value for value in made.headers.values())
    assert "canary" not in repr(made)
    assert "canary" not in made.url
    assert b"canary" not in made.body


@pytest.mark.parametrize("kind", ["google", "huggingface"])
@pytest.mark.parametrize(
    ("fields", "param"), [({"input": [1, 2]}, "input"), ({"base_url": "http://x"}, "base_url")]
)
def test_what_a_wire_cannot_say_is_refused_by_its_field(kind, fields, param):
    with pytest.raises(InvalidRequest) as refusal:
        call(kind, asked(**fields))

    assert refusal.value.param == param


def test_google_takes_no_more_than_a_hundred_inputs():
    with pytest.raises(InvalidRequest) as refusal:
        call("google", asked(input=["a"] * 101))

    assert refusal.value.param == "input"


@each_wire
def test_vectors_come_back_in_the_shape_of_openai_s_client(kind):
    request = asked(input=["a", "b"])

    answer = read(kind, answered(kind, [[0.5, 1.0], [0.25, -1e-7]]), request)

    answer.body["usage"] = {"prompt_tokens": 7, "total_tokens": 7}
    parsed = CreateEmbeddingResponse.model_validate(orjson.loads(orjson.dumps(answer.body)))
    assert [one.embedding for one in parsed.data] == [[0.5, 1.0], [0.25, -1e-7]]
    assert [one.index for one in parsed.data] == [0, 1]
    assert (parsed.model, parsed.object) == ("e", "list")
    assert answer.usage == (None if kind == "huggingface" else answer.usage)
    assert answer.usage is None or answer.usage.input_tokens == 7


@each_wire
def test_base64_holds_the_same_numbers(kind):
    answer = read(kind, answered(kind, [[0.5, 0.1]]), asked(encoding_format="base64"))

    (told,) = numbers(answer)
    assert told == b64encode(np.array([0.5, 0.1], "<f4").tobytes()).decode()


def test_vectors_are_put_in_the_order_of_their_inputs():
    told = answered("openai", [[1.0, 0.0], [0.0, 1.0]])
    told["data"].reverse()

    assert numbers(read("openai", told, asked(input=["a", "b"]))) == [[1.0, 0.0], [0.0, 1.0]]


@each_wire
@pytest.mark.parametrize(
    "vectors", [[], [[1.0]], [[1.0, 2.0, 3.0]], [[1.0, 2.0]] * 2, [["x", 1.0]], [[1.0, None]]]
)
def test_vectors_that_were_not_asked_for_are_a_bad_answer(kind, vectors):
    with pytest.raises(BadAnswer):
        read(kind, answered(kind, vectors))


@pytest.mark.parametrize("told", ["!", "AAA=", "AAAAAAA", [1e40, 0.0], [10**400, 0], {}, None, 7])
def test_no_vector_is_a_bad_answer(told):
    with pytest.raises(BadAnswer):
        answer_of(Embedded([vector_of(told)]), asked(), endpoint("openai"), STATE)


@pytest.mark.parametrize("value", ["AADAfwAAAAA=", "AACAfwAAAAA="])
def test_what_is_not_a_number_is_a_bad_answer(value):
    with pytest.raises(BadAnswer, match="not a number"):
        answer_of(Embedded([vector_of(value)]), asked(), endpoint("openai"), STATE)


@each_wire
def test_an_error_in_a_good_answer_is_an_error(kind):
    body = orjson.dumps({"error": {"message": "no", "code": 500, "type": "server_error"}})

    with pytest.raises(CompassError):
        wire(kind).embedder.read(body)


@each_wire
@pytest.mark.parametrize("body", [b"", b"[", b"7", b'"x"', b"{}", b'{"data": [7]}'])
def test_what_is_no_answer_is_a_bad_answer(kind, body):
    with pytest.raises(BadAnswer):
        wire(kind).embedder.read(body)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
)
def test_numbers_survive_both_ways_of_writing_them(vector):
    card = {"dimensions": len(vector)}

    (plain,) = numbers(read("openai", answered("openai", [vector]), **card))
    packed = b64encode(np.array(vector, "<f4").tobytes()).decode()
    (same,) = numbers(read("openai", answered("openai", [packed]), **card))

    assert np.array_equal(np.array(plain, np.float32), np.array(vector, np.float32))
    assert plain == same


async def test_a_provider_that_makes_none_says_so_before_it_is_called():
    times = TimeoutSettings(1, 1, 1, 1)
    client = ProviderClient(wire("anthropic"), times, 1, TARGET)

    with pytest.raises(InvalidRequest) as refusal:
        await client.embed(asked(), endpoint("anthropic"), SimpleNamespace(), 0.0)

    assert refusal.value.param == "model"
    await client.close()
