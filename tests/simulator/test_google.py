"""Google's wire before Google's own client."""

import json

import jsonschema
import pytest
from google import genai
from google.genai import errors, types

from tests.simulator.conftest import GOOGLE

pytestmark = pytest.mark.server

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)]
)
CALL_ANY = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))


@pytest.fixture
def connect(simulator):
    variables = simulator.environment()
    clients = []

    def connect(key=variables["GEMINI_API_KEY"]):
        options = types.HttpOptions(base_url=variables["GOOGLE_GEMINI_BASE_URL"])
        clients.append(genai.Client(api_key=key, http_options=options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    return connect()


def create(client, **config):
    config = types.GenerateContentConfig(**config) if config else None
    return client.models.generate_content(model="sim-1", contents="hello", config=config)


def test_content_is_generated_and_counted(client, simulator):
    answer = create(client, system_instruction="be brief")
    (entry,) = simulator.log()
    usage = answer.usage_metadata

    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert usage.candidates_token_count == 20 == -(-len(answer.text) // 4)
    assert usage.prompt_token_count == entry["input_tokens"] == 3 + (2 + 4) + (2 + 4)
    assert (entry["output_tokens"], entry["model"]) == (20, "sim-1")


def test_max_tokens_is_respected(client):
    answer = create(client, max_output_tokens=5)

    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.candidates_token_count == 5


def test_a_stream_counts_as_it_goes(client):
    chunks = list(client.models.generate_content_stream(model="sim-1", contents="hello"))
    counts = [chunk.usage_metadata.candidates_token_count for chunk in chunks]

    assert counts == [*range(1, 21), 20]
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_candidates_are_counted_together(client):
    answer = create(client, candidate_count=2)

    assert len(answer.candidates) == 2
    assert answer.usage_metadata.candidates_token_count == 40


def test_a_required_function_is_called_with_valid_arguments(client):
    answer = create(client, tools=[TOOL], tool_config=CALL_ANY)
    (call,) = answer.function_calls

    assert call.name == "weather"
    jsonschema.validate(call.args, SCHEMA)


def test_a_scripted_function_call_is_streamed(client, behave, simulator):
    behave(tool_call={"name": "weather", "arguments": {"city": "Rome"}})
    chunks = list(client.models.generate_content_stream(model="sim-1", contents="hello"))

    assert [call.args for chunk in chunks for call in chunk.function_calls or ()] == [
        {"city": "Rome"}
    ]
    assert simulator.log()[0]["output_tokens"] == -(-len('{"city":"Rome"}') // 4)


def test_calls_at_once_come_in_one_answer(client, behave):
    cities = [{"city": "Rome"}, {"city": "Oslo"}]
    behave(tool_call=[{"name": "weather", "arguments": one} for one in cities])

    assert [call.args for call in create(client, tools=[TOOL]).function_calls] == cities


def test_a_function_s_result_can_be_matched(client, simulator):
    simulator.script([{"match": {"after_tool": True}, "then": {"text": "sunny"}}])
    result = types.Part.from_function_response(name="weather", response={"degrees": 30})

    answers = [
        client.models.generate_content(model="sim-1", contents=contents)
        for contents in ("hello", [types.Content(role="user", parts=[result])])
    ]

    assert [one.text == "sunny" for one in answers] == [False, True]


def test_arguments_that_are_not_json_are_a_malformed_call(client, behave):
    behave(tool_call={"name": "weather", "arguments": "{oops"})
    answer = create(client, tools=[TOOL])

    assert answer.candidates[0].finish_reason == types.FinishReason.MALFORMED_FUNCTION_CALL


@pytest.mark.parametrize("name", ["response_schema", "response_json_schema"])
def test_a_schema_is_obeyed(client, name):
    answer = create(client, response_mime_type="application/json", **{name: SCHEMA})

    jsonschema.validate(json.loads(answer.text), SCHEMA)


def test_the_models_are_listed(client):
    assert "models/sim-1" in [model.name for model in client.models.list()]


def test_a_revoked_key_is_refused(connect):
    with pytest.raises(errors.ClientError) as caught:
        create(connect("sk-revoked-1"))

    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


async def test_a_missing_key_is_forbidden(http):
    async with http.post(GOOGLE, headers={"x-goog-api-key": ""}) as answer:
        told = (await answer.json())["error"]

    assert (answer.status, told["code"], told["status"]) == (403, 403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        ({"status": 400}, errors.ClientError, "INVALID_ARGUMENT"),
        ({"status": 400, "kind": "FAILED_PRECONDITION"}, errors.ClientError, "FAILED_PRECONDITION"),
        ({"status": 404}, errors.ClientError, "NOT_FOUND"),
        ({"status": 429}, errors.ClientError, "RESOURCE_EXHAUSTED"),
        ({"status": 500}, errors.ServerError, "INTERNAL"),
    ],
)
def test_an_error_is_raised_as_the_client_knows_it(client, behave, error, raised, status):
    behave(error=error)

    with pytest.raises(raised) as caught:
        create(client)
    assert (caught.value.code, caught.value.status) == (error["status"], status)


async def test_a_quota_and_its_delay_stand_in_the_details(http, behave):
    quota = "GenerateRequestsPerMinutePerProjectPerModel"
    behave(error={"status": 429, "kind": quota, "retry_after": {"retry_info": "3s"}})
    async with http.post(GOOGLE, json={"contents": [{"parts": [{"text": "x"}]}]}) as answer:
        failure, retry = (await answer.json())["error"]["details"]

    assert failure["violations"][0]["quotaId"] == quota
    assert retry["retryDelay"] == "3s"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contents": "hello"},
        {"contents": [{"role": "pope"}]},
        {"contents": [{}], "generationConfig": {"maxOutputTokens": 0}},
        {"contents": [{}], "generationConfig": {"candidateCount": 100}},
        {"contents": [{}], "generationConfig": {"maxOutputTokens": "x"}},
        {"contents": [{}], "generationConfig": 5},
        {"contents": [{}], "tools": [{"functionDeclarations": [{}]}]},
        {"contents": [{}], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        [],
    ],
)
async def test_a_bad_request_is_an_invalid_argument(http, body):
    async with http.post(GOOGLE, json=body) as answer:
        told = (await answer.json())["error"]

    assert (answer.status, told["status"]) == (400, "INVALID_ARGUMENT")
