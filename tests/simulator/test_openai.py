"""OpenAI's wire before OpenAI's own client."""

import json

import jsonschema
import openai
import pytest

from tests.simulator.conftest import OPENAI, SAY

pytestmark = pytest.mark.server

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


@pytest.fixture
def client(simulator):
    variables = simulator.environment()
    with openai.OpenAI(
        base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"], max_retries=0
    ) as client:
        yield client


def create(client, **more):
    return client.chat.completions.create(model="sim-1", messages=SAY, **more)


def test_a_chat_is_answered_and_counted(client, simulator):
    answer = create(client)
    (entry,) = simulator.log()

    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 20 == -(-len(answer.choices[0].message.content) // 4)
    assert answer.usage.prompt_tokens == 3 + 4 + 2
    assert (entry["input_tokens"], entry["output_tokens"], entry["status"]) == (9, 20, 200)


def test_max_tokens_is_respected(client):
    answer = create(client, max_completion_tokens=5)

    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 5)


def test_a_stream_ends_with_its_usage(client):
    chunks = list(create(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])

    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 20 == -(-len(text) // 4)


def test_a_stream_tells_no_usage_unasked(client):
    assert all(chunk.usage is None for chunk in create(client, stream=True))


def test_n_answers_are_counted_together(client):
    answer = create(client, n=3)

    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage.completion_tokens == 60


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": TOOL["function"]}])
def test_a_required_tool_is_called_with_valid_arguments(client, choice):
    answer = create(client, tools=[TOOL], tool_choice=choice)
    (call,) = answer.choices[0].message.tool_calls

    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather"
    jsonschema.validate(json.loads(call.function.arguments), SCHEMA)


def test_tools_on_offer_need_not_be_called(client):
    assert create(client, tools=[TOOL]).choices[0].message.tool_calls is None


def test_a_scripted_tool_call_is_streamed_in_pieces(client, behave):
    behave(tool_call={"name": "weather", "arguments": {"city": "Rome", "degrees": 30}})
    with client.chat.completions.stream(model="sim-1", messages=SAY, tools=[TOOL]) as stream:
        pieces = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls

    assert len(pieces) > 1
    assert json.loads(call.function.arguments) == {"city": "Rome", "degrees": 30}


def test_calls_at_once_are_whole_and_in_pieces_the_same(client, behave):
    behave(tool_call=[{"name": "weather", "arguments": {"city": c}} for c in ("Rome", "Oslo")])

    whole = create(client, tools=[TOOL]).choices[0].message
    with client.chat.completions.stream(model="sim-1", messages=SAY, tools=[TOOL]) as stream:
        streamed = stream.get_final_completion().choices[0].message

    for message in (whole, streamed):
        arguments = [json.loads(call.function.arguments) for call in message.tool_calls]
        assert arguments == [{"city": "Rome"}, {"city": "Oslo"}]
        assert len({call.id for call in message.tool_calls}) == 2


def test_a_tool_s_result_can_be_matched(client, simulator):
    simulator.script([{"match": {"after_tool": True}, "then": {"text": "sunny"}}])
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "a", "content": "30 degrees"}
    said = [*SAY, {"role": "assistant", "tool_calls": [call]}, result]

    answers = [
        client.chat.completions.create(model="sim-1", messages=messages) for messages in (SAY, said)
    ]

    assert [one.choices[0].message.content == "sunny" for one in answers] == [False, True]


def test_a_schema_is_obeyed(client):
    shape = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA, "strict": True}}
    answer = create(client, response_format=shape)

    jsonschema.validate(json.loads(answer.choices[0].message.content), SCHEMA)


def test_a_json_object_is_one(client):
    answer = create(client, response_format={"type": "json_object"})

    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_the_models_are_listed(client):
    assert "sim-1" in [model.id for model in client.models.list()]


def test_limits_and_the_request_are_named_in_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="sim-1", messages=SAY)

    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-ratelimit-remaining-requests"] == "9999"


def test_a_script_replaces_headers(client, behave):
    behave(headers={"X-RateLimit-Remaining-Requests": 0})

    raw = client.chat.completions.with_raw_response.create(model="sim-1", messages=SAY)

    assert raw.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_revoked_key_is_refused(client):
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key") as caught:
        create(client.with_options(api_key="sk-revoked-1"))

    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("header", ["", "Bearer ", "sk-simulated", "Basic abc"])
async def test_a_missing_key_is_refused(http, header):
    async with http.post(OPENAI, headers={"authorization": header}) as answer:
        told = (await answer.json())["error"]

    assert (answer.status, told["code"]) == (401, None)
    assert told["message"].startswith("You didn't provide an API key.")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ({"status": 400, "kind": "context_length_exceeded"}, openai.BadRequestError),
        ({"status": 403}, openai.PermissionDeniedError),
        ({"status": 404}, openai.NotFoundError),
        ({"status": 429, "kind": "insufficient_quota"}, openai.RateLimitError),
        ({"status": 500}, openai.InternalServerError),
    ],
)
def test_an_error_is_raised_as_the_client_knows_it(client, behave, error, raised):
    behave(error=error)

    with pytest.raises(raised) as caught:
        create(client)
    assert caught.value.status_code == error["status"]
    assert error.get("kind") in (None, caught.value.code)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, None),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "pope"}]}, "messages[0].role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"n": 1000}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "x"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"tools": [TOOL], "tool_choice": {"function": 5}}, None),
    ],
)
async def test_a_bad_request_is_refused_with_its_parameter(http, change, param):
    async with http.post(OPENAI, json={"model": "sim-1", "messages": SAY, **change}) as answer:
        told = await answer.json()

    assert (answer.status, told["error"]["param"]) == (400, param)
    assert told["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
async def test_a_body_that_is_no_object_is_refused(http, body):
    async with http.post(OPENAI, data=body) as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, None)


async def test_an_unknown_path_is_not_found(http):
    async with http.post("/openai/v1/chat/completion") as answer:
        assert (answer.status, list(await answer.json())) == (404, ["error"])
