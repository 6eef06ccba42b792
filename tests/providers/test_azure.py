import httpx2
import openai
import orjson
import pytest

from compass_ray.providers.azure import AzureWire
from compass_ray.providers.base import Target

WIRE = AzureWire()
FINDINGS = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}]


def event(choices, **more):
    return orjson.dumps({"id": "", "object": "", "created": 0, "choices": choices, **more})


@pytest.fixture
def sent_by_sdk():
    """Return a function from an API version to the request that Azure's own client makes."""

    def sent(version, body):
        seen = []

        def answer(request):
            seen.append(request)
            return httpx2.Response(200, json={})

        http = httpx2.Client(transport=httpx2.MockTransport(answer))
        url = "https://r.openai.azure.com"
        client = (
            openai.AzureOpenAI(
                azure_endpoint=url, api_version=version, api_key="k", http_client=http
            )
            if version
            else openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k", http_client=http)
        )
        with client:
            client.chat.completions.create(**body)
        return seen[0]

    return sent


@pytest.mark.parametrize("version", ["", "2024-10-21"])
@pytest.mark.parametrize("deployment", ["gpt-4.1", "my gpt/4?"])
def test_the_call_is_the_one_that_azures_own_client_makes(
    version, deployment, chat, endpoint, sent_by_sdk
):
    target = Target("https://r.openai.azure.com", "k", version)

    call = WIRE.encode(chat(max_tokens=5), endpoint("azure", deployment, ()), target)

    body = orjson.loads(call.body)
    theirs = sent_by_sdk(version, body)
    assert httpx2.URL(call.url) == theirs.url
    assert body == orjson.loads(theirs.content)
    assert call.headers["api-key"] == "k"
    assert not version or theirs.headers["api-key"] == "k"


def test_what_the_filter_found_in_the_prompt_goes_out_with_the_first_choice(state):
    now = state()
    delta = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}

    held = WIRE.decode_chunk("", event([], prompt_filter_results=FINDINGS), now)
    (first,) = WIRE.decode_chunk("", event([delta], id="chatcmpl-1"), now)
    (second,) = WIRE.decode_chunk("", event([delta], id="chatcmpl-1"), now)

    assert [chunk.body for chunk in held] == [None]
    assert first.body["prompt_filter_results"] == FINDINGS
    assert first.body["id"] == "chatcmpl-1"
    assert "prompt_filter_results" not in second.body


def test_findings_about_the_answer_pass_even_without_a_delta(state):
    found = {"hate": {"filtered": False, "severity": "safe"}}
    choice = {"index": 0, "finish_reason": None, "content_filter_results": found}

    (chunk,) = WIRE.decode_chunk("", event([choice]), state())

    assert chunk.body["choices"][0]["content_filter_results"] == found
    assert chunk.body["choices"][0]["delta"] == {}
