import dataclasses

import orjson
import pytest

from compass_ray.policy.verdict import judge
from compass_ray.providers.local import LocalWire
from compass_ray.providers.openai import OpenAIWire
from compass_ray.types.errors import (
    BadAnswer,
    BrokenStream,
    NoSpareCapacity,
    Overloaded,
    ProviderFault,
    Rejected,
)
from compass_ray.types.routing import Preferences
from compass_ray.types.usage import Price

WIRE = OpenAIWire()


def chunk(choices, **more):
    return orjson.dumps({"id": "c", "created": 1, "choices": choices, **more})


def sent(call):
    return orjson.loads(call.body)


def test_the_call_goes_to_chat_completions_with_the_endpoints_model(chat, endpoint, target):
    call = WIRE.encode(chat(), endpoint("openai", "gpt-4.1-mini"), target)

    assert call.url == "https://api.example.com/chat/completions"
    assert call.headers["authorization"] == f"Bearer {target.key}"
    assert sent(call)["model"] == "gpt-4.1-mini"


def test_every_field_of_openais_passes(chat, endpoint, target):
    fields = {"logit_bias": {"1": 2}, "n": 2, "logprobs": True, "a_new_field": [1], "user": "u"}

    body = sent(WIRE.encode(chat(**fields), endpoint("openai"), target))

    assert fields.items() <= body.items()


def test_a_stream_always_asks_for_usage(chat, endpoint, target):
    options = {"include_usage": False, "include_obfuscation": False}

    plain = sent(WIRE.encode(chat(stream=True), endpoint("openai"), target))
    asked = sent(WIRE.encode(chat(stream=True, stream_options=options), endpoint("openai"), target))

    assert plain["stream_options"] == {"include_usage": True}
    assert asked["stream_options"] == {"include_usage": True, "include_obfuscation": False}


@pytest.mark.parametrize(
    ("capabilities", "field", "name"),
    [
        (("reasoning",), "max_tokens", "max_completion_tokens"),
        ((), "max_tokens", "max_tokens"),
        ((), "max_completion_tokens", "max_completion_tokens"),
    ],
)
def test_the_limit_goes_by_the_name_the_model_knows(capabilities, field, name, chat, call):
    body = sent(call("openai", chat(**{field: 9}), capabilities=capabilities))

    limits = {name: value for name, value in body.items() if name.startswith("max_")}
    assert limits == {name: 9}


def test_what_compass_added_to_another_providers_answer_is_taken_out(chat, endpoint, target):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "a", "tool_calls": [call]}
    added = {**message, "reasoning_content": "hm", "extra_content": {"anthropic": {}}}
    added["tool_calls"] = [{**call, "extra_content": {"google": {}}}]

    body = sent(WIRE.encode(chat(messages=[added]), endpoint("openai"), target))

    assert body["messages"] == [message]


def test_the_local_engine_is_never_asked_for_an_endless_answer(chat, endpoint, target):
    free = sent(LocalWire().encode(chat(), endpoint("local", limit=256), target))
    limited = sent(
        LocalWire().encode(chat(max_completion_tokens=7), endpoint("local", limit=256), target)
    )

    assert free["max_tokens"] == 256
    assert limited["max_tokens"] == 7
    assert "max_completion_tokens" not in limited


@pytest.mark.parametrize(
    ("reason", "ours", "shown"),
    [
        ("stop", "stop", "stop"),
        ("function_call", "tool_calls", "function_call"),
        ("eos_token", "stop", "stop"),
    ],
)
def test_a_finish_reason_is_one_of_openais(reason, ours, shown, state):
    data = chunk([{"index": 0, "delta": {}, "finish_reason": reason}])

    (out,) = WIRE.decode_chunk("", data, state())

    assert out.finish_reason == ours
    assert out.body["choices"][0]["finish_reason"] == shown


def test_a_provider_that_gave_up_did_not_finish(state):
    data = chunk([{"index": 0, "delta": {}, "finish_reason": "abort"}])

    with pytest.raises(BrokenStream):
        WIRE.decode_chunk("", data, state())


def test_done_after_a_finish_reason_ends_the_stream(state):
    now = state()
    WIRE.decode_chunk("", chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]), now)

    (done,) = WIRE.decode_chunk("", b"[DONE]", now)

    assert done.done
    assert done.body is None


def test_a_stream_without_a_usage_chunk_reports_no_usage(state):
    now = state()
    chunks = [
        *WIRE.decode_chunk("", chunk([{"index": 0, "delta": {"content": "a"}}]), now),
        *WIRE.decode_chunk("", chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]), now),
        *WIRE.decode_chunk("", b"[DONE]", now),
    ]

    assert [one.usage for one in chunks] == [None, None, None]


def test_a_usage_chunk_that_cannot_be_true_has_nothing_for_the_caller(state):
    (out,) = WIRE.decode_chunk("", chunk([], usage={"prompt_tokens": -1}), state())

    assert out.body is None
    assert out.usage is None


def test_usage_in_the_last_choice_is_read(state):
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    data = chunk([{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}], usage=usage)

    (out,) = WIRE.decode_chunk("", data, state())

    assert (out.usage.input_tokens, out.usage.output_tokens) == (3, 2)
    assert out.body["usage"]["total_tokens"] == 5


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        ({"message": "x", "type": "server_error"}, ProviderFault),
        ({"message": "x", "code": 503}, Overloaded),
        ({"message": "x", "type": "invalid_request_error"}, Rejected),
        ("went wrong", ProviderFault),
    ],
)
def test_an_error_in_the_stream_has_the_blame_of_its_kind(error, cls, state):
    with pytest.raises(cls):
        WIRE.decode_chunk("", orjson.dumps({"error": error}), state())


@pytest.mark.parametrize(
    "message",
    [
        {"content": 5},
        {"content": None, "tool_calls": [{"id": "1"}]},
        {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"content": None, "tool_calls": "none"},
        None,
    ],
)
def test_a_malformed_message_is_a_bad_answer(message, state):
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}

    with pytest.raises(BadAnswer):
        WIRE.decode(orjson.dumps(body), state())


def test_ten_thousand_tool_calls_pass(state):
    calls = [{"index": i, "id": str(i), "function": {"arguments": "{"}} for i in range(10_000)]

    (out,) = WIRE.decode_chunk("", chunk([{"index": 0, "delta": {"tool_calls": calls}}]), state())

    assert out.output_chars == 10_000


@pytest.mark.parametrize(
    "choice",
    [
        "text",
        {"delta": "text"},
        {"delta": {"content": ["text"]}},
        {"delta": {"reasoning": 1}},
        {"delta": {"tool_calls": ["f"]}},
        {"delta": {"tool_calls": [{"function": "f"}]}},
        {"delta": {"tool_calls": [{"function": {"arguments": {}}}]}},
        {"delta": {}, "finish_reason": 1},
    ],
)
def test_a_malformed_chunk_is_a_bad_answer(choice, state):
    with pytest.raises(BadAnswer):
        WIRE.decode_chunk("", chunk([choice]), state())


def test_what_a_look_alike_leaves_out_is_filled_in(state):
    data = b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}'

    (out,) = WIRE.decode_chunk("", data, state())

    assert (out.body["id"], out.body["created"]) == ("chatcmpl-req1", 1_763_900_000)
    assert out.body["choices"][0]["index"] == 0
    assert out.body["choices"][0]["delta"]["tool_calls"][0]["index"] == 0


def test_a_custom_tools_call_passes(state):
    call = {"id": "1", "type": "custom", "custom": {"name": "c", "input": "x"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}

    answer = WIRE.decode(orjson.dumps(body), state())

    assert answer.body["choices"][0]["message"]["tool_calls"] == [call]


HALF = Price(2_000_000, 8_000_000, batch=Price(1_000_000, 4_000_000))
MAY_WAIT = Preferences(urgency="batch")


def test_what_may_wait_is_asked_as_flex_where_that_has_a_price(chat, endpoint, target):
    dear = dataclasses.replace(endpoint("openai"), price=HALF)
    waits = dataclasses.replace(chat(), preferences=MAY_WAIT)

    flex = WIRE.encode(waits, dear, target)
    others = [
        WIRE.encode(chat(), dear, target),
        WIRE.encode(waits, endpoint("openai"), target),
        WIRE.encode(
            dataclasses.replace(chat(service_tier="default"), preferences=MAY_WAIT), dear, target
        ),
    ]

    assert (sent(flex)["service_tier"], flex.patient) == ("flex", True)
    assert [sent(one).get("service_tier") for one in others] == [None, None, "default"]
    assert not any(one.patient for one in others)


@pytest.mark.parametrize(("tier", "batch"), [("flex", True), ("default", False), (None, False)])
def test_a_batch_s_price_holds_where_the_provider_says_that_it_was_flex(state, tier, batch):
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"choices": [choice], "usage": usage, "service_tier": tier}

    answer = WIRE.decode(orjson.dumps(whole), state())
    (last,) = WIRE.decode_chunk("", chunk([], usage=usage, service_tier=tier), state())

    assert (answer.usage.batch, last.usage.batch) == (batch, batch)


def test_no_spare_capacity_is_no_fault_of_the_endpoint():
    told = {"error": {"message": "Resource unavailable.", "code": "resource_unavailable"}}

    error = WIRE.decode_error(429, {}, orjson.dumps(told))

    assert isinstance(error, NoSpareCapacity)
    assert error.retry_after == 30.0
    assert judge(error).verdict == "neutral"
