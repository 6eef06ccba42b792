"""The official OpenAI client's structured outputs, from a model that knows no schemas."""

import openai
import pytest
from pydantic import BaseModel

pytestmark = pytest.mark.server


class Place(BaseModel):
    city: str


MENDS = [
    {"match": {"contains": "Give it again"}, "then": {"text": '```json\n{"city": "Rome"}\n```'}},
    {"then": {"text": "It is Rome, I think."}},
]
ASKED = {"model": "sim-blind", "messages": [{"role": "user", "content": "Where?"}]}


@pytest.fixture
def client(gateway):
    url = f"{gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key=gateway.key, max_retries=0) as client:
        yield client


def test_an_answer_is_parsed_that_was_mended(gateway, client):
    gateway.simulator.script(MENDS)

    told = client.chat.completions.parse(**ASKED, response_format=Place)

    assert told.choices[0].message.parsed == Place(city="Rome")
    attempts = told.model_extra["compass"]["attempts"]
    assert [one.get("error") for one in attempts] == ["SchemaMissed", None]
    assert told.model_extra["compass"]["cost_micro_usd"] == sum(
        one["cost_micro_usd"] for one in attempts
    )


def test_a_stream_is_parsed_that_was_mended(gateway, client):
    gateway.simulator.script(MENDS)

    with client.chat.completions.stream(**ASKED, response_format=Place) as stream:
        told = stream.get_final_completion()

    assert told.choices[0].message.parsed == Place(city="Rome")


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_cannot_is_told_of_as_the_provider_s_error(gateway, client, stream):
    gateway.script(text="It is Rome.")
    shape = {"type": "json_schema", "json_schema": {"name": "p", "schema": {"type": "object"}}}

    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(**ASKED, response_format=shape, stream=stream)

    assert failed.value.status_code == 502
    assert failed.value.code == "schema_missed"
