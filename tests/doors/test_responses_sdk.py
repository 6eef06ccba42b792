"""The official OpenAI client's Responses API, unmodified, whoever answers behind the gateway."""

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from .conftest import PROVIDERS

pytestmark = pytest.mark.server

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather.",
    "strict": None,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
EVENT = TypeAdapter(ResponseStreamEvent)
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class Number(BaseModel):
    n: int


@pytest.fixture
def client(gateway):
    url = f"{gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key=gateway.key, max_retries=0) as client:
        yield client


def events_of(gateway, **fields):
    """Return a stream's events, once each is seen to fit the SDK's types and to be in its place."""
    response = httpx.post(
        f"{gateway.url}/v1/responses",
        json={"model": "sim-openai", "input": "Say hello.", "stream": True} | fields,
        headers={"authorization": f"Bearer {gateway.key}"},
        trust_env=False,
        timeout=30,
    )
    events = []
    for number, block in enumerate(response.text.split("\n\n")[:-1]):
        name, data = block.split("\n")
        event = httpx.Response(200, text=data.removeprefix("data: ")).json()
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        EVENT.validate_python(event)
        events.append(event)
    return events


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_response_is_the_same_whoever_answers(client, gateway, provider):
    gateway.script(text="Hello, world.")

    response = client.responses.create(model=f"sim-{provider}", input="Say hello.")

    Response.model_validate(response.model_dump())
    assert response.output_text == "Hello, world."
    assert (response.status, response.error, response.model) == (
        "completed",
        None,
        f"sim-{provider}",
    )
    assert response.id.startswith("resp_")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.usage.output_tokens > 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_is_the_same_response(client, gateway, provider):
    gateway.script(text="Hello, wide world.")
    asked = {"model": f"sim-{provider}", "input": "Say hello."}

    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        said = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        streamed = stream.get_final_response()

    assert said == streamed.output_text == whole.output_text == "Hello, wide world."
    assert streamed.status == whole.status
    assert streamed.usage == whole.usage


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_events_come_in_openai_s_order(gateway, provider):
    gateway.script(text="One two three.")

    events = events_of(gateway, model=f"sim-{provider}")

    kinds = [event["type"].removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *["output_text.delta"] * deltas,
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert events[-1]["response"]["output"] == [events[-2]["item"]]
    assert events[-1]["response"]["compass"]["cost_micro_usd"] > 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tool_is_called_and_its_result_told(client, provider):
    asked = {"model": f"sim-{provider}", "tools": [WEATHER]}
    said = [{"role": "user", "content": "Say hello."}]

    first = client.responses.create(
        **asked, input=said, tool_choice={"type": "function", "name": "weather"}
    )
    (call,) = first.output
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(**asked, input=[*said, *first.output, result])

    assert (call.type, call.name) == ("function_call", "weather")
    assert second.output_text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_streamed_call_has_the_arguments_of_a_whole_one(client, gateway, provider):
    gateway.script(tool_call={"name": "weather", "arguments": {"city": "Rome"}})
    asked = {"model": f"sim-{provider}", "input": "Say hello.", "tools": [WEATHER]}

    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        streamed = stream.get_final_response()
    events_of(gateway, **asked)

    for response in (whole, streamed):
        (call,) = response.output
        assert httpx.Response(200, text=call.arguments).json() == {"city": "Rome"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_that_is_cut_off_says_so(client, gateway, provider):
    asked = {"model": f"sim-{provider}", "input": "Say hello.", "max_output_tokens": 3}

    response = client.responses.create(**asked)
    last = events_of(gateway, **asked)[-1]

    assert (response.status, response.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_parsed_answer_fits_the_class_that_was_asked_for(client, provider):
    response = client.responses.parse(model=f"sim-{provider}", input="Count.", text_format=Number)

    assert isinstance(response.output_parsed.n, int)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_everything_that_a_request_can_hold_arrives(client, provider):
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,JVBERi0=",
        },
    ]

    response = client.responses.create(
        model=f"sim-{provider}",
        instructions="Be brief.",
        input=[{"role": "user", "content": content}],
        max_output_tokens=100,
        metadata={"a": "b"},
        tools=[WEATHER],
        tool_choice="auto",
        store=False,
        include=["reasoning.encrypted_content"],
        user="u",
    )

    assert response.output_text
    assert response.metadata == {"a": "b"}
    assert response.instructions == "Be brief."
    assert response.tools[0].name == "weather"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    ],
)
def test_what_needs_a_memory_is_refused_by_name(client, changed, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**{"model": "sim-openai", "input": "hi"} | changed)

    assert refused.value.param == param
    assert param in refused.value.message


def test_errors_are_the_client_s_own_exceptions(client, gateway):
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="no-such", input="hi")
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="ck-mallory") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.responses.create(model="auto", input="hi")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_broken_stream_raises(client, gateway, provider):
    gateway.script(fault={"cut_after_chunks": 3}, tokens=50)

    with (
        pytest.raises(openai.APIError) as broken,
        client.responses.create(model=f"sim-{provider}", input="hi", stream=True) as stream,
    ):
        list(stream)

    assert broken.value.body["blame"] == "provider"
