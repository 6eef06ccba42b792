"""Open models on vLLM: answered, streamed, cancelled, replaced, put to sleep and woken."""

import json
import os
import signal

import httpx
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

HELLO = [{"role": "user", "content": "Hello"}]


def body(**fields):
    return {"model": "tiny", "messages": HELLO, "max_tokens": 8, "ignore_eos": True} | fields


def events(response):
    lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.fixture
def awake(compass):
    """A model that answers, as soon as it does."""
    assert compass.models.post("/v1/chat/completions", json=body()).status_code == 200
    return compass


def test_a_sleeping_model_is_waited_for_by_those_who_can(compass):
    compass.wait(lambda: compass.card()["state"] == "asleep")

    hurried = compass.gateway.post("/v1/chat/completions", json=body(compass={"timeout_s": 5}))
    patient = compass.gateway.post("/v1/chat/completions", json=body())

    assert hurried.headers["x-compass-provider"] == "openai"
    assert patient.headers["x-compass-provider"] == "vllm", patient.text
    assert compass.card() | {"created": 0} == {
        "id": "tiny",
        "object": "model",
        "created": 0,
        "owned_by": "vllm",
        "state": "ready",
        "starts_in_s": 0.0,
    }


def test_a_chat_is_answered(awake):
    answer = awake.models.post("/v1/chat/completions", json=body()).json()

    assert answer["model"] == "tiny"
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["choices"][0]["message"]["content"]
