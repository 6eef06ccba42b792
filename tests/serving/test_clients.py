"""What Compass adds to OpenAI's answers does not disturb OpenAI's own client."""

import httpx2
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

from compass_ray.types.errors import BrokenStream
from tests.gateway.conftest import USAGE, Provider, answer, chunk
from tests.gateway.test_streams import END, said

from .conftest import KEY

SAY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
CUT = BrokenStream("cut")


@pytest.fixture
def client(rim):
    def build(**providers):
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(rim(**providers).app))
        return openai.AsyncOpenAI(
            api_key=KEY, base_url="http://compass.test/v1", http_client=http, max_retries=0
        )

    return build


async def stream(client, on_break):
    """Return the chunks, and what the client's own accumulator makes of them."""
    state, chunks = ChatCompletionStreamState(), []
    async for one in await client.chat.completions.create(
        **SAY,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"x-compass-on-break": on_break},
    ):
        chunks.append(one)
        state.handle_chunk(one)
    return chunks, state.get_final_completion()


async def test_an_answer_keeps_what_compass_says(client):
    completion = await client(a=Provider(answer("hello"))).chat.completions.create(**SAY)

    assert completion.choices[0].message.content == "hello"
    assert completion.model_extra["compass"]["endpoint"] == "a/m"


async def test_a_stream_that_another_model_goes_on_with_is_one_message(client):
    asked = client(
        a=Provider([said(role="assistant"), said("one "), CUT]),
        b=Provider([said(role="assistant"), said("two"), END, chunk(usage=USAGE)], prefills=True),
    )

    chunks, whole = await stream(asked, "continue")

    assert (whole.choices[0].message.content, whole.choices[0].message.role) == (
        "one two",
        "assistant",
    )
    assert whole.choices[0].finish_reason == "stop"
    told = chunks[-1].model_extra["compass"]
    assert [attempt["ok"] for attempt in told["attempts"]] == [False, True]


async def test_a_stream_that_begins_anew_says_so(client):
    asked = client(a=Provider([said("one "), CUT]), b=Provider([said("two"), END]))

    chunks, _ = await stream(asked, "restart")

    events = [(one.model_extra or {}).get("compass", {}).get("event") for one in chunks]
    assert events.count("restart") == 1
    after = chunks[events.index("restart") :]
    assert after[0].choices[0].delta.role == "assistant"
    text = [one.choices[0].delta.content or "" for one in after if one.choices]
    assert "".join(text) == "two"


async def test_a_stream_that_breaks_off_is_the_client_s_error(client):
    with pytest.raises(openai.APIError, match="cut"):
        await stream(client(a=Provider([said("one "), CUT])), "error")


async def test_an_unknown_wish_is_a_bad_request_that_names_its_header(client):
    with pytest.raises(openai.BadRequestError) as refused:
        await stream(client(a=Provider()), "retry")

    assert refused.value.param == "x-compass-on-break"
