"""Anthropic's client for Python, whoever answers behind the gateway."""

import anthropic
import pytest
from pydantic import BaseModel

MODELS = ("sim-openai", "sim-anthropic", "sim-google")
HELLO = [{"role": "user", "content": "Say hello."}]
TWO_CITIES = [{"role": "user", "content": "What is the weather in Rome and in Oslo?"}]
TOOL = {
    "name": "get_weather",
    "description": "Tells it.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture
def client():
    with anthropic.Anthropic(max_retries=0) as client:
        yield client


@pytest.fixture(params=MODELS)
def asked(request):
    return {"model": request.param, "max_tokens": 200}


def test_a_message_is_answered(client, asked):
    message = client.messages.create(**asked, messages=HELLO, system="Be brief.")

    assert [(block.type, block.text) for block in message.content] == [
        ("text", "Hello, wide world.")
    ]
    assert (message.stop_reason, message.role, message.type) == ("end_turn", "assistant", "message")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


def test_a_stream_is_the_same_message(client, asked):
    with client.messages.stream(**asked, messages=HELLO) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()

    assert said == final.content[0].text == "Hello, wide world."
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


async def test_the_asynchronous_client_streams_too(asked):
    async with (
        anthropic.AsyncAnthropic(max_retries=0) as client,
        client.messages.stream(**asked, messages=HELLO) as stream,
    ):
        said = [text async for text in stream.text_stream]

    assert "".join(said) == "Hello, wide world."


def test_two_tools_are_used_at_once_and_their_results_told(client, asked):
    first = client.messages.create(**asked, messages=TWO_CITIES, tools=[TOOL])
    uses = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    said = [
        *TWO_CITIES,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    second = client.messages.create(**asked, messages=said, tools=[TOOL])

    assert first.stop_reason == "tool_use"
    assert [use.input for use in uses] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert second.content[0].text == "It is sunny."


def test_streamed_uses_are_put_together_by_the_client(client, asked):
    with client.messages.stream(**asked, messages=TWO_CITIES, tools=[TOOL]) as stream:
        final = stream.get_final_message()

    assert [block.input for block in final.content] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert len({block.id for block in final.content}) == 2
    assert final.stop_reason == "tool_use"


def test_a_tool_that_is_chosen_is_used(client, asked):
    message = client.messages.create(
        **asked,
        messages=[{"role": "user", "content": "Who?"}],
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "get_weather"},
    )

    assert [block.name for block in message.content] == ["get_weather"]


def test_an_answer_is_parsed_into_the_class_that_was_asked_for(client, asked):
    message = client.messages.parse(
        **asked, messages=[{"role": "user", "content": "Who?"}], output_format=Person
    )

    assert isinstance(message.parsed_output, Person)


def test_tokens_are_counted_before_they_are_spent(client, asked):
    told = {"model": asked["model"], "system": "Be brief."}

    few = client.messages.count_tokens(**told, messages=HELLO)
    many = client.messages.count_tokens(**told, messages=HELLO, tools=[TOOL])

    assert 0 < few.input_tokens < many.input_tokens


def test_models_are_listed_and_looked_up(client, asked):
    listed = {one.id for one in client.models.list()}
    found = client.models.retrieve(asked["model"])

    assert set(MODELS) <= listed
    assert (found.id, found.type) == (asked["model"], "model")
    assert found.display_name
    assert found.created_at


def test_a_wrong_key_is_the_client_s_own_error(client, asked):
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="ck-mallory").messages.create(**asked, messages=HELLO)


def test_a_wrong_field_is_the_client_s_own_error(client, asked):
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        client.messages.create(**asked, messages=HELLO, extra_body={"temperature": 9})
