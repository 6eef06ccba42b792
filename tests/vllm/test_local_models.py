"""Open models on vLLM: answered, streamed, cancelled, replaced, put to sleep and woken."""

import json
import os
import signal

import httpx
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "colour", "schema": COLOUR}}
PAINT = {"name": "paint", "parameters": COLOUR, "strict": True}
TOOL = {"type": "function", "function": PAINT}


def body(**fields):
    return {"model": "tiny", "messages": HELLO, "max_tokens": 8, "ignore_eos": True} | fields


def events(response):
    lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def counted(events):
    return next(event["usage"] for event in reversed(events) if event.get("usage"))


@pytest.fixture
def awake(compass):
    """The models, as soon as the one that can chat answers."""
    assert compass.models.post(CHAT, json=body()).status_code == httpx.codes.OK
    return compass


def test_a_sleeping_model_is_waited_for_by_those_who_can(compass):
    compass.wait(lambda: compass.card()["state"] == "asleep")
    compass.wait(lambda: "tiny" in compass.starting())

    hurried = compass.gateway.post(CHAT, json=body(compass={"timeout_s": 5}))
    patient = compass.gateway.post(CHAT, json=body(compass={"providers": ["vllm"]}))

    assert hurried.headers["x-compass-provider"] == "openai"
    assert patient.headers["x-compass-provider"] == "vllm", patient.text
    compass.wait(lambda: compass.card()["starts_in_s"] == 0, seconds=5)
    compass.wait(lambda: "tiny" not in compass.starting(), seconds=5)


def test_a_chat_is_answered(awake):
    answer = awake.models.post(CHAT, json=body()).json()

    assert answer["model"] == "tiny"
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_chat_is_streamed(awake):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    with awake.models.stream("POST", CHAT, json=body(**options)) as response:
        told = events(response)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert len(told) > 8
    assert counted(told)["completion_tokens"] == 8


def test_an_answer_keeps_to_a_schema(awake):
    asked = body(response_format=SCHEMA, max_tokens=512, ignore_eos=False)
    answer = awake.gateway.post(CHAT, json=asked | {"compass": {"providers": ["vllm"]}}).json()

    said = json.loads(answer["choices"][0]["message"]["content"])
    assert said["colour"] in {"red", "green"}


def test_a_tool_is_called(awake):
    choice = {"type": "function", "function": {"name": "paint"}}
    asked = body(tools=[TOOL], tool_choice=choice, max_tokens=512, ignore_eos=False)
    answer = awake.models.post(CHAT, json=asked).json()

    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "paint"
    assert json.loads(call["function"]["arguments"])["colour"] in {"red", "green"}


def test_an_adapter_answers_otherwise_than_its_model(awake):
    asked = body(temperature=0, max_tokens=16)
    plain = awake.models.post(CHAT, json=asked).json()
    adapted = awake.models.post(CHAT, json=asked | {"model": "tiny-adapted"}).json()

    assert adapted["model"] == "tiny-adapted"
    assert adapted["choices"][0]["message"] != plain["choices"][0]["message"]


def test_bad_input_gets_an_error_of_vllm_that_names_the_field(awake):
    answer = awake.models.post(CHAT, json=body(temperature=-1))

    assert answer.status_code == 400
    assert "temperature" in answer.json()["error"]["message"]


def test_an_unknown_model_is_named(awake):
    answer = awake.models.post(CHAT, json=body(model="huge"))

    assert answer.status_code == 404
    assert "'huge'" in answer.json()["error"]["message"]


def test_compass_streams_and_bills_what_the_model_says(awake):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    asked = body(**options, compass={"providers": ["vllm"]})
    with awake.gateway.stream("POST", CHAT, json=asked) as response:
        told = events(response)

    assert response.headers["x-compass-provider"] == "vllm"
    assert counted(told)["completion_tokens"] == 8


@pytest.mark.parametrize("door", ["models", "gateway"])
def test_a_caller_who_leaves_ends_the_generation(awake, door):
    asked = body(stream=True, max_tokens=16_000, compass={"providers": ["vllm"]})
    with getattr(awake, door).stream("POST", CHAT, json=asked) as response:
        lines = response.iter_lines()  # httpx leaves where this is forgotten
        assert json.loads(next(lines).removeprefix("data: "))["choices"]
        awake.wait(awake.computes, seconds=3)

    awake.wait(lambda: not awake.computes(), seconds=3)


def test_a_killed_engine_is_replaced(awake):
    (engine,) = awake.engines()

    os.kill(engine, signal.SIGKILL)
    during = awake.gateway.post(CHAT, json=body(compass={"timeout_s": 10}))
    awake.wait(lambda: awake.models.post(CHAT, json=body()).status_code == httpx.codes.OK)

    assert during.headers["x-compass-provider"] == "openai"
    (another,) = awake.engines()
    assert another != engine


def test_a_model_that_embeds_is_woken_and_sleeps_again(compass):
    asked = {"model": "vectors", "input": ["one", "two"]}
    answer = compass.models.post("/v1/embeddings", json=asked).json()

    assert [len(one["embedding"]) for one in answer["data"]] == [64, 64]
    compass.wait(lambda: compass.card("vectors")["state"] == "asleep")
    compass.wait(lambda: not compass.engines(), seconds=30)
