"""What is the same through every door: who may ask, how errors look, and what is kept."""

import pytest

from tests.gateway.conftest import Provider, answer, chunk

from .conftest import LIMIT

MESSAGES = "/v1/messages"
SAY = {"model": "auto", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}


def error_of(response):
    """Return an error of Anthropic's shape, with its id in the header that its clients read."""
    body = response.json()
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"]
    return body["error"]


@pytest.mark.parametrize("path", [MESSAGES, f"{MESSAGES}/count_tokens"])
async def test_who_has_no_key_is_refused_in_the_dialect(rim, path):
    response = await rim().ask("POST", path, key=None, json=SAY)

    assert response.status_code == 401
    assert error_of(response)["type"] == "authentication_error"


async def test_a_wrong_method_is_refused_in_the_dialect(rim):
    response = await rim().ask("GET", MESSAGES)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert error_of(response)["type"] == "invalid_request_error"


async def test_an_oversized_body_is_refused_in_the_dialect(rim):
    response = await rim().ask("POST", MESSAGES, content=b" " * (LIMIT + 1))

    assert response.status_code == 413
    assert error_of(response)["type"] == "request_too_large"


async def test_what_the_door_refuses_is_counted_for_its_caller(rim):
    r = rim()

    response = await r.ask("POST", MESSAGES, json=SAY | {"nonsense": 1})

    assert error_of(response)["param"] == "nonsense"
    assert [(record.status, record.account) for record in r.world.records] == [(400, "acme")]
    assert r.world.providers["a"].calls == 0


async def test_what_the_gateway_refuses_is_named_as_the_caller_wrote_it(rim):
    response = await rim().ask("POST", MESSAGES, json=SAY | {"stop_sequences": [5]})

    assert error_of(response)["param"] == "stop_sequences"


async def test_an_answer_that_cannot_be_told_is_an_error_of_the_provider(rim):
    odd = answer("hi")
    odd.body["choices"][0]["message"]["tool_calls"] = [
        {"id": "t", "function": {"name": "f", "arguments": "no object"}}
    ]

    response = await rim(a=Provider(odd)).ask("POST", MESSAGES, json=SAY)

    assert response.status_code == 502
    assert error_of(response)["blame"] == "provider"


async def test_a_stream_that_cannot_be_told_ends_with_an_error(rim):
    script = [chunk("he"), chunk(), chunk("llo")]
    script[1].body["choices"] = [{"delta": {"tool_calls": [{"index": 0}]}}]

    response = await rim(a=Provider(script)).ask("POST", MESSAGES, json=SAY | {"stream": True})

    assert response.text.rsplit("event: ", 1)[1].startswith("error\n")
    assert '"he"' in response.text
