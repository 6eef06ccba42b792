"""The official Anthropic client, unmodified, before the gateway, whoever answers behind it."""

import anthropic
import httpx
import pytest
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from .conftest import PROVIDERS

pytestmark = pytest.mark.server

HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
PIXEL = "iVBORw0KGgo="
EVENT = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture
def client(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        yield client


def raw(gateway, **fields):
    """Return the answer to a streamed request as it came."""
    body = {"model": "sim-openai", "max_tokens": 50, "messages": HELLO, "stream": True} | fields
    return httpx.post(
        f"{gateway.url}/v1/messages",
        json=body,
        headers={"x-api-key": gateway.key},
        trust_env=False,
        timeout=30,
    )


def events_of(response):
    """Return each event, once its name is seen to be its type and the SDK's types to fit it."""
    events = []
    for block in response.text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = httpx.Response(200, text=data.removeprefix("data: ")).json()
        assert name == f"event: {event['type']}"
        if event["type"] != "ping":
            EVENT.validate_python(event)
        events.append(event)
    return events


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_message_is_the_same_whoever_answers(client, gateway, provider):
    gateway.script(text="Hello, world.")

    message = client.messages.create(model=f"sim-{provider}", max_tokens=50, messages=HELLO)

    (block,) = message.content
    assert (block.type, block.text) == ("text", "Hello, world.")
    assert (message.type, message.role, message.model) == (
        "message",
        "assistant",
        f"sim-{provider}",
    )
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_is_the_same_message(client, gateway, provider):
    gateway.script(text="Hello, wide world.")
    asked = {"model": f"sim-{provider}", "max_tokens": 50, "messages": HELLO}

    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        said = "".join(stream.text_stream)
        streamed = stream.get_final_message()

    assert said == "Hello, wide world."
    assert [block.text for block in whole.content] == ["Hello, wide world."]
    assert [block.text for block in streamed.content] == ["Hello, wide world."]
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.input_tokens == whole.usage.input_tokens


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_events_come_in_anthropic_s_order(gateway, provider):
    gateway.script(text="One two three.")

    events = events_of(raw(gateway, model=f"sim-{provider}"))

    kinds = [event["type"] for event in events]
    deltas = kinds.count("content_block_delta")
    assert kinds == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert deltas > 0
    assert events[-2]["compass"]["cost_micro_usd"] > 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tool_is_called_and_its_result_told(client, gateway, provider):
    asked = {"model": f"sim-{provider}", "max_tokens": 100, "tools": [WEATHER]}

    first = client.messages.create(
        **asked, messages=HELLO, tool_choice={"type": "tool", "name": "weather"}
    )
    (call,) = first.content
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result, {"type": "text", "text": "And tomorrow?"}]},
    ]
    second = client.messages.create(**asked, messages=turns)

    assert first.stop_reason == "tool_use"
    assert (call.type, call.name) == ("tool_use", "weather")
    assert isinstance(call.input["city"], str)
    assert second.stop_reason == "end_turn"
    assert second.content[0].type == "text"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_streamed_call_has_the_arguments_of_a_whole_one(client, gateway, provider):
    gateway.script(tool_call={"name": "weather", "arguments": {"city": "Rome"}})
    asked = {"model": f"sim-{provider}", "max_tokens": 100, "messages": HELLO, "tools": [WEATHER]}

    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()

    for message in (whole, streamed):
        (call,) = message.content
        assert (call.name, call.input) == ("weather", {"city": "Rome"})
        assert message.stop_reason == "tool_use"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_that_is_cut_off_says_so(client, provider):
    message = client.messages.create(model=f"sim-{provider}", max_tokens=3, messages=HELLO)

    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 3


@pytest.mark.parametrize("provider", PROVIDERS)
def test_everything_that_a_request_can_hold_arrives(client, provider):
    image = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    cached = {"type": "ephemeral"}
    content = [
        {"type": "text", "text": "What is this?", "cache_control": cached},
        {"type": "image", "source": image},
        {"type": "document", "source": pdf, "title": "A paper"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
    ]

    message = client.messages.create(
        model=f"sim-{provider}",
        max_tokens=50,
        system=[{"type": "text", "text": "Be brief.", "cache_control": cached}],
        messages=[{"role": "user", "content": content}],
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        tools=[WEATHER | {"cache_control": cached}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True}
        if provider != "google"
        else {"type": "auto"},
        service_tier="auto",
        cache_control=cached,
    )

    assert message.content[0].text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_fits_the_schema_that_was_asked_for(client, provider):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    message = client.messages.create(
        model=f"sim-{provider}",
        max_tokens=100,
        messages=HELLO,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )

    assert httpx.Response(200, text=message.content[0].text).json().keys() == {"n"}


def test_auto_chooses(client):
    wish = {"compass": {"providers": ["google"]}}

    answer = client.messages.with_raw_response.create(
        model="auto", max_tokens=20, messages=HELLO, extra_body=wish
    )

    assert answer.headers["x-compass-provider"] == "google"
    assert answer.headers["x-compass-model"] == answer.parse().model


def test_the_answer_s_headers_are_those_of_chat(client):
    answer = client.messages.with_raw_response.create(
        model="sim-google", max_tokens=20, messages=HELLO
    )

    headers = answer.headers
    assert headers["x-compass-provider"] == "google"
    assert float(headers["x-compass-cost-usd"]) > 0
    assert float(headers["x-compass-remaining-budget-usd"]) > 0
    assert headers["request-id"] == headers["x-compass-request-id"]


def test_a_bearer_token_will_do(gateway):
    with anthropic.Anthropic(base_url=gateway.url, auth_token=gateway.key) as client:
        assert client.messages.create(model="auto", max_tokens=5, messages=HELLO).content


@pytest.mark.parametrize(
    ("changed", "error", "kind"),
    [
        ({"model": "no-such"}, anthropic.NotFoundError, "not_found_error"),
        ({"max_tokens": 0}, anthropic.BadRequestError, "invalid_request_error"),
        ({"messages": []}, anthropic.BadRequestError, "invalid_request_error"),
        ({"extra_body": {"nonsense": 1}}, anthropic.BadRequestError, "invalid_request_error"),
    ],
)
def test_a_caller_s_mistake_is_the_client_s_own_exception(client, changed, error, kind):
    asked = {"model": "sim-openai", "max_tokens": 5, "messages": HELLO} | changed

    with pytest.raises(error) as refused:
        client.messages.create(**asked)

    assert refused.value.body["type"] == "error"
    assert refused.value.body["error"]["type"] == kind
    assert refused.value.request_id == refused.value.body["request_id"]


def test_an_unknown_key_is_an_authentication_error(gateway):
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key="ck-mallory", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(model="auto", max_tokens=5, messages=HELLO)


def test_a_spent_budget_is_a_billing_error(gateway):
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key=gateway.poor_key) as client,
        pytest.raises(anthropic.APIStatusError) as refused,
    ):
        client.messages.create(model="sim-openai", max_tokens=50, messages=HELLO)

    assert refused.value.status_code == 402
    assert refused.value.body["error"]["type"] == "billing_error"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_broken_stream_ends_with_an_error_event(client, gateway, provider):
    gateway.script(fault={"cut_after_chunks": 3}, tokens=50)
    asked = {"model": f"sim-{provider}", "max_tokens": 90, "messages": HELLO}

    with pytest.raises(anthropic.APIStatusError), client.messages.stream(**asked) as stream:
        stream.until_done()

    last = httpx.Response(200, text=raw(gateway, **asked).text.rsplit("data: ", 1)[1]).json()
    assert last["type"] == "error"
    assert last["error"]["blame"] == "provider"


def test_an_endpoint_that_cannot_see_is_refused_by_name(client):
    image = {"type": "base64", "media_type": "image/png", "data": PIXEL}

    with pytest.raises(anthropic.BadRequestError, match="vision"):
        client.messages.create(
            model="sim-blind",
            max_tokens=5,
            messages=[{"role": "user", "content": [{"type": "image", "source": image}]}],
        )


@pytest.mark.parametrize("provider", ["anthropic", "google"])
def test_tokens_are_counted_by_the_provider_that_would_answer(client, provider):
    asked = {"model": f"sim-{provider}", "messages": HELLO, "system": "Be brief."}

    counted = client.messages.count_tokens(**asked, tools=[WEATHER])
    answered = client.messages.create(**asked, tools=[WEATHER], max_tokens=5)

    assert counted.input_tokens == answered.usage.input_tokens
    assert counted.model_extra["compass"] == {"estimated": False}


def test_where_nobody_counts_an_estimate_says_that_it_is_one(client):
    counted = client.messages.count_tokens(model="sim-openai", messages=HELLO, system="Be brief.")

    assert counted.input_tokens > 0
    assert counted.model_extra["compass"] == {"estimated": True}


def test_counting_names_what_it_cannot_count(client):
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.content"):
        client.messages.count_tokens(
            model="sim-openai", messages=[{"role": "user", "content": [{"type": "odd"}]}]
        )


def test_an_answer_is_told_again_as_it_was(client, gateway):
    gateway.script(text="Once.")
    asked = {"model": "sim-google", "max_tokens": 20, "messages": HELLO}
    key = {"Idempotency-Key": "messages-1"}

    first = client.messages.with_raw_response.create(**asked, extra_headers=key)
    second = client.messages.with_raw_response.create(**asked, extra_headers=key)

    assert second.headers["idempotent-replayed"] == "true"
    assert second.http_response.json() == first.http_response.json()


def test_the_list_of_models_is_paged_through_by_the_client(client):
    every = [one.id for one in client.models.list(limit=1000)]

    assert [one.id for one in client.models.list(limit=3)] == every
    backward = client.models.list(limit=3, before_id=every[-1])
    assert {one.id for one in backward} == set(every[:-1])
    with pytest.raises(anthropic.BadRequestError, match="after_id"):
        client.models.list(after_id="nobody")
