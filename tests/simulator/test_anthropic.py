"""Anthropic's wire before Anthropic's own client."""

import json

import anthropic
import jsonschema
import pytest

from tests.simulator.conftest import ANTHROPIC, SAY

pytestmark = pytest.mark.server

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"name": "weather", "description": "tells it", "input_schema": SCHEMA}


@pytest.fixture
def client(simulator):
    variables = simulator.environment()
    with anthropic.Anthropic(
        base_url=variables["ANTHROPIC_BASE_URL"],
        api_key=variables["ANTHROPIC_API_KEY"],
        max_retries=0,
    ) as client:
        yield client


def create(client, **more):
    return client.messages.create(**{"model": "sim-1", "messages": SAY, "max_tokens": 100, **more})


def test_a_message_is_answered_and_counted(client, simulator):
    message = create(client, system="be brief")
    (entry,) = simulator.log()

    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 20)
    assert (entry["input_tokens"], entry["output_tokens"]) == (message.usage.input_tokens, 20)
    assert message.usage.input_tokens == 3 + (2 + 4) + (2 + 4)


def test_max_tokens_is_respected(client):
    message = create(client, max_tokens=5)

    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)


def test_a_stream_has_the_events_in_order(client):
    events = [event.type for event in create(client, stream=True, max_tokens=2)]

    assert events == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_stream_has_a_ping(http):
    body = {"model": "sim-1", "messages": SAY, "max_tokens": 2, "stream": True}
    async with http.post(ANTHROPIC, json=body) as answer:
        assert b'event: ping\ndata: {"type":"ping"}\n\n' in await answer.read()


def test_a_stream_adds_up_to_the_message(client):
    with client.messages.stream(model="sim-1", messages=SAY, max_tokens=100) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert message.content[0].text == text
    assert message.usage.output_tokens == 20 == -(-len(text) // 4)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_required_tool_is_used_with_valid_input(client, choice):
    message = create(client, tools=[TOOL], tool_choice=choice)
    (block,) = message.content

    assert (message.stop_reason, block.type, block.name) == ("tool_use", "tool_use", "weather")
    jsonschema.validate(block.input, SCHEMA)


def test_a_scripted_tool_call_is_streamed_in_pieces(client, behave):
    behave(tool_call={"name": "weather", "arguments": {"city": "Rome"}})
    with client.messages.stream(
        model="sim-1", messages=SAY, max_tokens=100, tools=[TOOL]
    ) as stream:
        pieces = [event for event in stream if event.type == "input_json"]
        message = stream.get_final_message()

    assert len(pieces) > 1
    assert message.content[0].input == {"city": "Rome"}


def test_calls_at_once_are_whole_and_in_pieces_the_same(client, behave):
    cities = [{"city": "Rome"}, {"city": "Oslo"}]
    behave(tool_call=[{"name": "weather", "arguments": one} for one in cities])

    whole = create(client, tools=[TOOL])
    with client.messages.stream(
        model="sim-1", messages=SAY, max_tokens=100, tools=[TOOL]
    ) as stream:
        streamed = stream.get_final_message()

    for message in (whole, streamed):
        assert [block.input for block in message.content] == cities


def test_a_tool_s_result_can_be_matched(client, simulator):
    simulator.script([{"match": {"after_tool": True}, "then": {"text": "sunny"}}])
    use = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "30 degrees"}
    said = [*SAY, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]

    answers = [create(client, messages=messages) for messages in (SAY, said)]

    assert [one.content[0].text == "sunny" for one in answers] == [False, True]


def test_a_schema_is_obeyed(client):
    shape = {"format": {"type": "json_schema", "schema": SCHEMA}}
    message = create(client, output_config=shape)

    jsonschema.validate(json.loads(message.content[0].text), SCHEMA)


def test_the_models_are_listed(client):
    assert "sim-1" in [model.id for model in client.models.list()]


def test_limits_and_the_request_are_named_in_headers(client):
    raw = client.messages.with_raw_response.create(model="sim-1", messages=SAY, max_tokens=9)

    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "3999"


def test_a_revoked_key_is_refused(client):
    with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
        create(client.with_options(api_key="sk-revoked-1"))


async def test_a_missing_key_is_refused(http):
    async with http.post(ANTHROPIC, headers={"x-api-key": "", "authorization": ""}) as answer:
        told = (await answer.json())["error"]

    assert (answer.status, told["type"]) == (401, "authentication_error")


@pytest.mark.parametrize(
    ("error", "raised", "kind"),
    [
        ({"status": 400}, anthropic.BadRequestError, "invalid_request_error"),
        ({"status": 402}, anthropic.APIStatusError, "billing_error"),
        ({"status": 403}, anthropic.PermissionDeniedError, "permission_error"),
        ({"status": 404}, anthropic.NotFoundError, "not_found_error"),
        ({"status": 429}, anthropic.RateLimitError, "rate_limit_error"),
        ({"status": 500}, anthropic.InternalServerError, "api_error"),
        ({"status": 529}, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_an_error_is_raised_as_the_client_knows_it(client, behave, error, raised, kind):
    behave(error=error)

    with pytest.raises(raised) as caught:
        create(client)
    assert caught.value.body["error"]["type"] == kind


def test_an_error_code_stands_in_the_details(client, behave):
    behave(error={"status": 429, "kind": "enforced_spend_limit_reached"})

    with pytest.raises(anthropic.RateLimitError) as caught:
        create(client)
    assert caught.value.body["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "x"}, "max_tokens: Input should be a valid integer"),
        ({"model": 5}, "model: Input should be a valid string"),
        ({"messages": {}}, "messages: Input should be a valid list"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [5]}, "messages.0: Input should be a valid dictionary"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "pope"}]}, "messages.0.role: Input should be 'user' or"),
        ({"tools": {}}, "tools: Input should be a valid list"),
        ({"tools": [{}]}, "tools.0.custom.name: Field required"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found"),
        ({"output_config": {"format": {}}}, "output_config.format.schema: Field required"),
    ],
)
async def test_a_bad_request_is_refused_in_words(http, change, message):
    body = {"model": "sim-1", "messages": SAY, "max_tokens": 5, **change}
    async with http.post(ANTHROPIC, json=body) as answer:
        told = await answer.json()

    assert (answer.status, told["type"]) == (400, "error")
    assert told["error"]["type"] == "invalid_request_error"
    assert told["error"]["message"].startswith(message)


async def test_a_version_is_required(http):
    async with http.post(ANTHROPIC, headers={"anthropic-version": ""}) as answer:
        assert (answer.status, "anthropic-version" in await answer.text()) == (400, True)
