"""Azure's wire before OpenAI's own clients for it."""

import openai
import pytest

from tests.simulator.conftest import AZURE, SAY

pytestmark = pytest.mark.server


@pytest.fixture(params=["", "2024-10-21"], ids=["v1", "dated"])
def client(request, simulator):
    variables = simulator.environment()
    url, key = variables["AZURE_OPENAI_ENDPOINT"], variables["AZURE_OPENAI_API_KEY"]
    client = (
        openai.AzureOpenAI(
            azure_endpoint=url, api_version=request.param, api_key=key, max_retries=0
        )
        if request.param
        else openai.OpenAI(base_url=f"{url}/openai/v1", api_key=key, max_retries=0)
    )
    with client:
        yield client


def create(client, **more):
    return client.chat.completions.create(model="sim-1", messages=SAY, **more)


def test_a_deployment_answers_with_what_the_filter_found(client, simulator):
    answer = create(client)
    (entry,) = simulator.log()

    assert answer.usage.completion_tokens == 20
    assert answer.choices[0].content_filter_results["hate"] == {
        "filtered": False,
        "severity": "safe",
    }
    assert answer.prompt_filter_results[0]["prompt_index"] == 0
    assert (entry["provider"], entry["model"], entry["status"]) == ("azure", "sim-1", 200)


def test_a_stream_begins_with_the_prompts_findings(client):
    first, *chunks = create(client, stream=True, stream_options={"include_usage": True})

    assert (first.choices, first.id) == ([], "")
    assert first.prompt_filter_results
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 20


def test_the_models_are_listed(client):
    assert "sim-1" in [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    ("error", "raised", "code"),
    [
        ({"status": 404, "kind": "DeploymentNotFound"}, openai.NotFoundError, "DeploymentNotFound"),
        ({"status": 429}, openai.RateLimitError, "429"),
        ({"status": 400, "kind": "content_filter"}, openai.BadRequestError, "content_filter"),
        ({"status": 500, "kind": "InternalServerError"}, openai.InternalServerError, None),
    ],
)
def test_an_error_is_raised_as_the_client_knows_it(client, behave, error, raised, code):
    behave(error=error)

    with pytest.raises(raised) as caught:
        create(client)
    assert caught.value.code in (code, error.get("kind"))


def test_a_revoked_key_is_refused(client):
    with pytest.raises(openai.AuthenticationError, match="Access denied due to invalid") as caught:
        create(client.with_options(api_key="sk-revoked-1"))

    assert caught.value.code == "401"


async def test_a_deployment_is_not_found_without_an_api_version(http):
    path = "/azure/openai/deployments/sim-1/chat/completions"
    async with http.post(path, json={"messages": SAY}) as answer:
        assert (answer.status, await answer.json()) == (
            404,
            {"error": {"code": "404", "message": "Resource not found"}},
        )


@pytest.mark.parametrize("path", [AZURE, "/azure/openai/deployments/a/chat/completions"])
async def test_a_body_that_is_no_object_is_refused(http, path):
    async with http.post(path, params={"api-version": "2024-10-21"}, data=b"[]") as answer:
        assert (answer.status, list(await answer.json())) == (400, ["error"])
