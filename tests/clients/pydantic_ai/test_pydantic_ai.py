"""Agents of Pydantic AI, through each dialect that it speaks."""

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

UPSTREAMS = ("sim-openai", "sim-anthropic", "sim-google")


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture(params=[OpenAIChatModel, OpenAIResponsesModel, AnthropicModel])
def dialect(request):
    return request.param


@pytest.fixture(params=UPSTREAMS)
def model(request, dialect):
    return dialect(request.param)


async def test_an_agent_answers(model):
    result = await Agent(model, instructions="Be brief.").run("Say hello.")

    assert result.output == "Hello, wide world."
    assert result.usage.output_tokens > 0


async def test_an_agent_streams_its_answer(model):
    async with Agent(model).run_stream("Say hello.") as result:
        said = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    assert "".join(said) == "Hello, wide world."
    assert len(said) > 1


async def test_an_agent_s_tools_are_called_until_it_can_answer(model):
    asked = []
    agent = Agent(model)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Tell the weather."""
        asked.append(city)
        return "sunny"

    result = await agent.run("What is the weather in Rome and in Oslo?")

    assert sorted(asked) == ["Oslo", "Rome"]
    assert result.output == "It is sunny."


async def test_a_structured_result_is_of_the_class(model):
    result = await Agent(model, output_type=Person).run("Who?")

    assert isinstance(result.output, Person)


# For Anthropic's dialect the client refuses it by itself: it goes by the names of Claude's models.
@pytest.mark.parametrize("dialect", [OpenAIChatModel, OpenAIResponsesModel], indirect=True)
async def test_a_schema_s_result_is_of_the_class(model):
    result = await Agent(model, output_type=NativeOutput(Person)).run("Who?")

    assert isinstance(result.output, Person)
