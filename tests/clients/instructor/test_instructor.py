"""Instructor's structured output, by each way in which it asks for it."""

import instructor
import pytest
from pydantic import BaseModel, Field

MODELS = ("sim-openai", "sim-anthropic", "sim-google")
WHO = [{"role": "user", "content": "Who?"}]


class Address(BaseModel):
    city: str


class Person(BaseModel):
    name: str
    age: int = Field(ge=0)
    addresses: list[Address]


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA])
def test_an_answer_is_an_object_of_the_class(model, mode):
    client = instructor.from_provider(f"openai/{model}", mode=mode)

    person, completion = client.chat.completions.create_with_completion(
        response_model=Person, messages=WHO, max_retries=0
    )

    assert isinstance(person, Person)
    assert isinstance(person.addresses[0], Address)
    assert completion.usage.total_tokens > 0


def test_a_partial_object_grows_until_it_is_whole(model):
    client = instructor.from_provider(f"openai/{model}")

    parts = list(client.chat.completions.create_partial(response_model=Person, messages=WHO))

    assert len(parts) > (0 if model == "sim-google" else 1)  # Gemini sends a call in one piece
    assert Person.model_validate(parts[-1].model_dump())


def test_a_list_of_objects_is_streamed(model):
    client = instructor.from_provider(f"openai/{model}")

    people = list(client.chat.completions.create_iterable(response_model=Person, messages=WHO))

    assert people
    assert all(isinstance(one, Person) for one in people)


async def test_the_asynchronous_client_too(model):
    client = instructor.from_provider(f"openai/{model}", async_client=True)

    person = await client.chat.completions.create(response_model=Person, messages=WHO)

    assert isinstance(person, Person)
