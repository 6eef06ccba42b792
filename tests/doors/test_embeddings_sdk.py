"""The official OpenAI client's embeddings, unmodified, whoever makes them behind the gateway."""

import numpy as np
import openai
import pytest
from openai.types import CreateEmbeddingResponse

from compass_ray.simulator.embeddings import vector

from .conftest import DIMENSIONS, EMBEDDERS

pytestmark = pytest.mark.server


@pytest.fixture
def client(gateway):
    url = f"{gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key=gateway.key, max_retries=0) as client:
        yield client


def expected(*texts, dimensions=DIMENSIONS):
    return [vector("sim-1", text, dimensions) for text in texts]


def vectors(told):
    """Return the numbers as what they are, of 32 bits, however many digits are written."""
    return [np.array(one.embedding, np.float32).tolist() for one in told.data]


@pytest.mark.parametrize("provider", EMBEDDERS)
@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}])
def test_vectors_are_the_same_whoever_makes_them(client, provider, encoding):
    told = client.embeddings.create(
        model=f"embed-{provider}", input=["Hello.", "World."], user="u", **encoding
    )

    CreateEmbeddingResponse.model_validate(told.model_dump())
    assert vectors(told) == expected("Hello.", "World.")
    assert (told.model, told.object) == (f"embed-{provider}", "list")
    assert told.usage.prompt_tokens == told.usage.total_tokens > 0
    assert told.model_extra["compass"]["endpoint"] == f"{provider}/embed-{provider}"
    cost = told.model_extra["compass"]["cost_micro_usd"]
    assert cost == 2 * told.usage.prompt_tokens


@pytest.mark.parametrize("said", ["Hi", ["Hi"], [1, 2, 3], [[1, 2], [3]]])
def test_every_way_of_saying_inputs_is_taken(client, said):
    told = client.embeddings.create(model="embed-openai", input=said)

    assert len(told.data) == (2 if said == [[1, 2], [3]] else 1)


def test_as_many_inputs_as_openai_takes_are_answered_in_their_order(client):
    texts = [f"text {number}" for number in range(2_048)]

    told = client.embeddings.create(model="embed-openai", input=texts)

    assert [one.index for one in told.data] == list(range(2_048))
    assert vectors(told)[::500] == expected(*texts[::500])


def test_fewer_dimensions_are_made_where_they_are_asked_for(client):
    told = client.embeddings.create(model="embed-twice", input="Hi", dimensions=8)

    assert vectors(told) == expected("Hi", dimensions=8)


def test_auto_is_always_the_same_model(client):
    models = {client.embeddings.create(model="auto", input="Hi").model for _ in range(4)}

    assert len(models) == 1


def test_another_provider_of_the_same_model_steps_in(client, gateway):
    gateway.simulator.script(
        [{"match": {"provider": "openai"}, "then": {"error": {"status": 500}}}]
    )

    told = client.embeddings.create(model="embed-twice", input="Hi")

    assert told.model_extra["compass"]["endpoint"] == "azure/embed-twice"
    assert vectors(told) == expected("Hi")


def test_no_other_model_steps_in(client, gateway):
    gateway.simulator.script(
        [{"match": {"provider": "google"}, "then": {"error": {"status": 400}}}]
    )

    with pytest.raises(openai.APIStatusError):
        client.embeddings.create(model="embed-google", input="Hi")

    assert {entry["provider"] for entry in gateway.simulator.log()} == {"google"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["a"] * 2_049}, "input"),
        ({"input": "word " * 5_000}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [1.5]}, "input[0]"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 8}, "dimensions"),
        ({"model": "sim-openai"}, "model"),
        ({"model": "sim-anthropic"}, "model"),
        ({"extra_body": {"compass": {"fallbacks": ["embed-google"]}}}, "compass.fallbacks"),
    ],
)
def test_bad_input_is_refused_by_its_field_before_anybody_is_asked(client, gateway, fields, param):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(**{"model": "embed-openai", "input": "Hi"} | fields)

    assert refusal.value.param == param
    assert gateway.simulator.log() == []


def test_a_field_that_the_provider_cannot_say_is_named(client, gateway):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model="embed-google", input=[1, 2, 3])

    assert refusal.value.param == "input"
    assert gateway.simulator.log() == []


def test_who_has_no_money_gets_no_vectors(gateway):
    url = f"{gateway.url}/v1"

    with (
        openai.OpenAI(base_url=url, api_key=gateway.poor_key, max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as refusal,
    ):
        client.embeddings.create(model="embed-openai", input="Hi")

    assert refusal.value.status_code == 402
    assert gateway.simulator.log() == []


def test_who_has_no_key_is_refused(gateway):
    url = f"{gateway.url}/v1"

    with (
        openai.OpenAI(base_url=url, api_key="nonsense", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.embeddings.create(model="embed-openai", input="Hi")


def test_a_repeated_request_is_answered_once(client, gateway):
    def ask(**more):
        return client.embeddings.with_raw_response.create(
            model="embed-openai", input="Hi", extra_headers={"idempotency-key": "k-embed"}, **more
        )

    first, again = ask(), ask()

    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(gateway.simulator.log()) == 1
    with pytest.raises(openai.UnprocessableEntityError):
        ask(dimensions=DIMENSIONS)


def test_models_are_listed_with_their_dimensions(client):
    told = client.models.retrieve("embed-twice")

    assert (told.model_extra["dimensions"], told.model_extra["shortens"]) == (DIMENSIONS, True)
