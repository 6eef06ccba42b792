"""Hugging Face's wire before its own client, and before OpenAI's, which it documents."""

import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, OverloadedError, ValidationError

from tests.simulator.conftest import HUGGINGFACE, SAY

pytestmark = pytest.mark.server


@pytest.fixture
def client(simulator):
    variables = simulator.environment()
    return InferenceClient(base_url=variables["HF_BASE_URL"], api_key=variables["HF_TOKEN"])


def create(client, **more):
    return client.chat.completions.create(model="a/b:groq", messages=SAY, **more)


def test_a_chat_is_answered_and_counted(client, simulator):
    answer = create(client)
    (entry,) = simulator.log()

    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 20)
    assert (entry["provider"], entry["model"], entry["output_tokens"]) == (
        *("huggingface", "a/b:groq"),
        20,
    )


def test_a_stream_ends_with_its_usage(client):
    chunks = list(create(client, stream=True, stream_options={"include_usage": True}))

    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 20


def test_the_models_are_listed_to_openais_client(simulator):
    variables = simulator.environment()
    with openai.OpenAI(base_url=variables["HF_BASE_URL"], api_key=variables["HF_TOKEN"]) as client:
        assert "sim-1" in [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    "error",
    [
        {"status": 402, "message": "You have exceeded your monthly included credits"},
        {"status": 400, "kind": "model_not_supported"},
        {"status": 422, "kind": "validation"},
        {"status": 503, "kind": "loading"},
    ],
)
def test_an_error_is_raised_with_its_status(client, behave, error):
    behave(error=error)

    with pytest.raises(HfHubHTTPError) as caught:
        create(client)
    assert caught.value.response.status_code == error["status"]


@pytest.mark.parametrize(
    ("kind", "raised"), [("validation", ValidationError), ("overloaded", OverloadedError)]
)
def test_an_error_in_a_stream_is_raised_as_the_client_knows_it(client, behave, kind, raised):
    behave(fault="error_in_200", error={"status": 422, "kind": kind, "message": "too long"})

    with pytest.raises(raised, match="too long"):
        list(create(client, stream=True))


@pytest.mark.parametrize("header", ["", "Bearer hf_revoked_1", "Basic abc"])
async def test_a_wrong_token_is_refused(http, header):
    async with http.post(HUGGINGFACE, headers={"authorization": header}) as answer:
        assert (answer.status, await answer.json()) == (
            401,
            {"error": "Invalid username or password."},
        )
