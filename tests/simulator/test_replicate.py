"""Replicate's wire before its own client."""

import asyncio
import time

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

pytestmark = pytest.mark.server

MODEL = "meta/meta-llama-3-8b-instruct"
CREATE = f"/replicate/v1/models/{MODEL}/predictions"
ASK = {"input": {"prompt": "hello"}}


@pytest.fixture
def connect(simulator):
    """Return a function from a token to Replicate's client, which cannot be closed itself."""
    url = simulator.environment()["REPLICATE_BASE_URL"]
    with httpx.HTTPTransport() as transport:
        yield lambda token: Client(api_token=token, base_url=url, transport=transport)


@pytest.fixture
def client(connect, simulator):
    return connect(simulator.environment()["REPLICATE_API_TOKEN"])


def test_a_model_is_run_and_counted(client, simulator):
    text = "".join(client.run(MODEL, input={"prompt": "hello", "max_tokens": 5}))
    (entry,) = simulator.log()

    assert -(-len(text) // 4) == 5
    assert (entry["provider"], entry["model"], entry["output_tokens"]) == ("replicate", MODEL, 5)


def test_a_prediction_tells_its_tokens_in_its_metrics(client):
    told = client.models.predictions.create(MODEL, input={"prompt": "hello"}, wait=True)

    assert told.status == "succeeded"
    assert (told.metrics["input_token_count"], told.metrics["output_token_count"]) == (9, 20)
    assert told.input["max_tokens"] == 512


def test_a_stream_brings_the_same_output_in_pieces(client, behave):
    behave(text="one\ntwo three\n")

    events = list(client.stream(MODEL, input={"prompt": "hello"}))

    assert "".join(str(event) for event in events) == "one\ntwo three\n"
    assert events[-1].event.value == "done"


def test_a_slow_prediction_is_asked_for_until_it_is_there(client, behave):
    behave(ttft_s=0.3, text="late")

    told = client.models.predictions.create(MODEL, input={"prompt": "hello"})
    first = told.status
    told.wait()

    assert (first, told.status, "".join(told.output)) == ("processing", "succeeded", "late")


def test_a_prediction_can_be_cancelled(client, behave, simulator):
    behave(ttft_s=60)
    told = client.models.predictions.create(MODEL, input={"prompt": "hello"})

    told.cancel()
    (entry,) = simulator.log()

    assert told.status == "canceled"
    assert (entry["aborted"], entry["output_tokens"]) == (True, 0)


def test_a_cancelled_prediction_has_made_what_its_time_allowed(client, behave, simulator):
    behave(tpot_s=0.05, tokens=1000)
    told = client.models.predictions.create(MODEL, input={"prompt": "hello"})
    time.sleep(0.2)

    told.cancel()

    assert 2 <= simulator.log()[0]["output_tokens"] <= 100


def test_the_models_are_listed_and_the_account_is_known(client):
    found = client.collections.get("language-models")

    assert MODEL in [f"{model.owner}/{model.name}" for model in found]
    assert client.accounts.current().username == "simulated"


@pytest.mark.parametrize("status", [402, 422, 500])
def test_an_error_is_raised_as_the_client_knows_it(client, behave, status):
    behave(error={"status": status, "message": "no"})

    with pytest.raises(ReplicateError) as caught:
        client.run(MODEL, input={"prompt": "hello"})
    assert (caught.value.status, caught.value.detail) == (status, "no")


def test_what_is_missing_is_named(client):
    with pytest.raises(ReplicateError, match="prompt is required"):
        client.run(MODEL, input={})


def test_a_revoked_token_is_refused(connect):
    client = connect("r8_revoked")

    with pytest.raises(ReplicateError, match="valid authentication token") as caught:
        client.accounts.current()
    assert not isinstance(caught.value, ModelError)
    assert caught.value.status == 401


async def test_a_stream_that_is_left_is_noted(http, behave, simulator):
    behave(tpot_s=0.05, tokens=1000)
    async with http.post(CREATE, json={**ASK, "stream": True}) as answer:
        url = (await answer.json())["urls"]["stream"]
    async with http.get(url) as stream:
        await stream.content.readline()

    for _ in range(100):
        if simulator.log()[0]["aborted"]:
            break
        await asyncio.sleep(0.02)
    assert simulator.log()[0]["aborted"]


@pytest.mark.parametrize("path", ["", "/stream"])
async def test_an_unknown_prediction_is_not_found(http, path):
    async with http.get(f"/replicate/v1/predictions/nothing{path}") as answer:
        assert (answer.status, (await answer.json())["status"]) == (404, 404)
