"""OpenAI's client for Python, whoever answers behind the gateway."""

import json
import time

import openai
import pytest
from pydantic import BaseModel

MODELS = ("sim-openai", "sim-anthropic", "sim-google")
HELLO = [{"role": "user", "content": "Say hello."}]
WHO = [{"role": "user", "content": "Who?"}]
TWO_CITIES = [{"role": "user", "content": "What is the weather in Rome and in Oslo?"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Tells it.", "parameters": PARAMETERS},
}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "parameters": PARAMETERS}


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


@pytest.fixture
def client():
    with openai.OpenAI(max_retries=0) as client:
        yield client


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


def cities_of(arguments):
    return [json.loads(one)["city"] for one in arguments]


def test_a_chat_is_answered(client, model):
    answer = client.chat.completions.create(model=model, messages=HELLO)

    assert answer.choices[0].message.content == "Hello, wide world."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_is_the_same_chat(client, model):
    with client.chat.completions.stream(
        model=model, messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()

    assert said == final.choices[0].message.content == "Hello, wide world."
    assert final.choices[0].finish_reason == "stop"
    assert final.usage.completion_tokens > 0


async def test_the_asynchronous_client_streams_too(model):
    async with openai.AsyncOpenAI(max_retries=0) as client:
        chunks = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
        said = [one.choices[0].delta.content or "" async for one in chunks if one.choices]

    assert "".join(said) == "Hello, wide world."


def test_two_tools_are_called_at_once_and_their_results_told(client, model):
    first = client.chat.completions.create(model=model, messages=TWO_CITIES, tools=[TOOL])
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls
    ]
    second = client.chat.completions.create(
        model=model, messages=[*TWO_CITIES, message, *results], tools=[TOOL]
    )

    assert first.choices[0].finish_reason == "tool_calls"
    assert cities_of(call.function.arguments for call in message.tool_calls) == ["Rome", "Oslo"]
    assert second.choices[0].message.content == "It is sunny."


def test_streamed_calls_are_put_together_by_the_client(client, model):
    with client.chat.completions.stream(model=model, messages=TWO_CITIES, tools=[TOOL]) as stream:
        done = [e for e in stream if e.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion().choices[0]

    calls = final.message.tool_calls
    assert [(one.index, one.name) for one in done] == [(0, "get_weather"), (1, "get_weather")]
    assert cities_of(call.function.arguments for call in calls) == ["Rome", "Oslo"]
    assert len({call.id for call in calls}) == 2
    assert final.finish_reason == "tool_calls"


def test_a_required_tool_is_called(client, model):
    answer = client.chat.completions.create(
        model=model, messages=WHO, tools=[TOOL], tool_choice="required"
    )

    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


def test_an_answer_is_parsed_into_the_class_that_was_asked_for(client, model):
    whole = client.chat.completions.parse(model=model, messages=WHO, response_format=Person)
    with client.chat.completions.stream(
        model=model, messages=WHO, response_format=Person
    ) as stream:
        streamed = stream.get_final_completion()

    for answer in (whole, streamed):
        assert isinstance(answer.choices[0].message.parsed, Person)


def test_models_are_listed_and_looked_up(client, model):
    listed = {one.id for one in client.models.list()}
    found = client.models.retrieve(model)

    assert set(MODELS) <= listed
    assert (found.id, found.object) == (model, "model")
    assert isinstance(found.created, int)
    assert isinstance(found.owned_by, str)


def test_a_model_that_is_not_there_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such")


def test_a_response_is_whole_and_streamed_the_same(client, model):
    whole = client.responses.create(model=model, input="Say hello.")
    with client.responses.stream(model=model, input="Say hello.") as stream:
        streamed = stream.get_final_response()

    assert whole.output_text == streamed.output_text == "Hello, wide world."
    assert whole.usage.output_tokens == streamed.usage.output_tokens > 0


def test_a_response_calls_two_tools_and_is_told_their_results(client, model):
    first = client.responses.create(
        model=model, input=TWO_CITIES, tools=[RESPONSES_TOOL], store=False
    )
    calls = [item for item in first.output if item.type == "function_call"]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        for call in calls
    ]
    second = client.responses.create(
        model=model, input=[*TWO_CITIES, *first.output, *results], tools=[RESPONSES_TOOL]
    )

    assert cities_of(call.arguments for call in calls) == ["Rome", "Oslo"]
    assert second.output_text == "It is sunny."


def test_a_response_is_parsed_into_the_class_that_was_asked_for(client, model):
    assert isinstance(
        client.responses.parse(model=model, input="Who?", text_format=Person).output_parsed, Person
    )


def test_a_wrong_key_is_the_client_s_own_error(client):
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="ck-mallory").models.list()


def test_a_wrong_field_is_named_in_the_client_s_own_error(client, model):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=model, messages=HELLO, temperature=9)

    assert refused.value.param == "temperature"


def test_a_batch_is_uploaded_answered_and_downloaded(client, model):
    url = "/v1/chat/completions"
    line = {"custom_id": "a", "method": "POST", "url": url}
    asked = json.dumps(line | {"body": {"model": model, "messages": HELLO}}).encode()

    file = client.files.create(file=("in.jsonl", asked), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
    until = time.monotonic() + 20
    while batch.status not in {"completed", "failed"}:
        assert time.monotonic() < until, batch
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    (told,) = client.files.content(batch.output_file_id).text.splitlines()

    answer = json.loads(told)["response"]["body"]
    assert answer["choices"][0]["message"]["content"] == "Hello, wide world."
    assert batch.id in [one.id for one in client.batches.list()]
    assert {file.id, batch.output_file_id} <= {one.id for one in client.files.list()}


@pytest.mark.parametrize("name", ["embed-openai", "embed-google"])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_texts_are_embedded(client, name, encoding):
    asked = ["one", "two"]
    told = client.embeddings.create(model=name, input=asked, encoding_format=encoding)

    assert [one.index for one in told.data] == [0, 1]
    assert len(told.data[0].embedding) == len(told.data[1].embedding) > 1
    assert told.usage.total_tokens > 0
