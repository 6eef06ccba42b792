"""Anthropic's dialect: what a request becomes, and what an answer is told as."""

import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.doors.messages import MessagesDoor
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.providers.base import Target
from compass_ray.providers.registry import wire
from compass_ray.types.errors import BadAnswer, BrokenStream, InvalidRequest, NoEndpoint
from compass_ray.types.routing import Endpoint, Tier
from compass_ray.types.usage import Usage

DOOR = MessagesDoor()
HELLO = [{"role": "user", "content": "hi"}]
CACHED = {"type": "ephemeral"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def normal(**fields):
    """Return what a request is in the normal form, as a dictionary."""
    told = {"model": "m", "max_tokens": 50, "messages": HELLO} | fields
    raw, _ = DOOR.enter(orjson.dumps(told))
    return orjson.loads(raw)


def visit(**fields):
    told = {"model": "m", "max_tokens": 50, "messages": HELLO} | fields
    return DOOR.enter(orjson.dumps(told))[1]


def at_anthropic(told):
    """Return what Anthropic is sent for a request of its own dialect."""
    raw, _ = DOOR.enter(orjson.dumps(told))
    capabilities = frozenset({"tools", "vision", "documents", "reasoning", "json_schema"})
    endpoint = Endpoint("anthropic", "m", "claude-opus-5-5", Tier.FAST, 10_000, 4_096, capabilities)
    call = wire("anthropic").encode(parse(raw, Limits()), endpoint, Target("https://a.test", "k"))
    return orjson.loads(call.body)


def told(message, finish="stop", **fields):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "model": "m", "choices": [choice], **fields}
    return orjson.loads(visit().answer(body, Usage(3, 2)))


def chunk(delta=None, finish=None, **fields):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "m", "choices": [choice], **fields}


def streamed(*chunks, **fields):
    """Return the events of a stream, pings left out."""
    writer = visit(**fields)
    text = b"".join([*map(writer.event, chunks), writer.end(Usage(3, 2))]).decode()
    events = [json.loads(block.partition("data: ")[2]) for block in text.split("\n\n")[:-1]]
    return [event for event in events if event["type"] != "ping"]


def test_what_anthropic_can_say_reaches_it_unchanged():
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    asked = {
        "model": "claude-opus-5-5",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": CACHED}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look", "cache_control": CACHED},
                    {"type": "image", "source": source},
                    {"type": "image", "source": {"type": "url", "url": "https://a.test/b.png"}},
                    {
                        "type": "document",
                        "source": source | {"media_type": "application/pdf"},
                        "title": "a paper",
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    THOUGHT,
                    {"type": "redacted_thinking", "data": "eA=="},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "text", "text": "rain"}],
                        "is_error": True,
                        "cache_control": CACHED,
                    },
                    {"type": "text", "text": "so?"},
                ],
            },
        ],
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
        "tools": [WEATHER | {"description": "d", "strict": True, "cache_control": CACHED}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"a": 1}}},
        "stream": True,
    }

    assert at_anthropic(asked) == asked


@pytest.mark.parametrize(
    ("thinking", "effort", "expected"),
    [
        (None, None, None),
        (None, "low", "low"),
        ({"type": "adaptive"}, None, "high"),
        ({"type": "adaptive", "display": "summarized"}, "xhigh", "xhigh"),
        ({"type": "enabled", "budget_tokens": 5}, None, "low"),
        ({"type": "enabled", "budget_tokens": 20}, None, "medium"),
        ({"type": "enabled", "budget_tokens": 49}, None, "xhigh"),
        ({"type": "disabled"}, None, "none"),
        ({"type": "disabled"}, "high", "none"),
    ],
)
def test_thinking_becomes_an_effort(thinking, effort, expected):
    body = normal(thinking=thinking, output_config={"effort": effort})

    assert body.get("reasoning_effort") == expected


def test_results_of_tools_come_right_behind_their_calls():
    calls = [{"type": "tool_use", "id": n, "name": "f", "input": {}} for n in ("a", "b")]
    results = [{"type": "tool_result", "tool_use_id": n, "content": n} for n in ("a", "b")]
    said = {"type": "text", "text": "next"}

    messages = normal(
        messages=[
            *HELLO,
            {"role": "assistant", "content": calls},
            {"role": "user", "content": [said, *results]},
        ]
    )["messages"]

    assert [message["role"] for message in messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
    ]
    assert [message.get("tool_call_id") for message in messages[2:]] == ["a", "b", None]


def test_an_unsigned_thought_is_not_passed_off_as_anthropic_s():
    thought = THOUGHT | {"signature": ""}

    (_, said) = normal(messages=[*HELLO, {"role": "assistant", "content": [thought]}])["messages"]

    assert said == {"role": "assistant", "content": None, "reasoning_content": "hm"}


def test_other_wires_see_nothing_of_what_is_anthropic_s_alone():
    part = {"type": "text", "text": "hi", "cache_control": CACHED}
    result = {"type": "tool_result", "tool_use_id": "t", "is_error": True}
    raw, _ = DOOR.enter(
        orjson.dumps(
            {
                "model": "m",
                "max_tokens": 5,
                "messages": [
                    {"role": "user", "content": [part, part]},
                    {
                        "role": "assistant",
                        "content": [
                            THOUGHT,
                            {"type": "tool_use", "id": "t", "name": "f", "input": {}}
                            | {"cache_control": CACHED},
                        ],
                    },
                    {"role": "user", "content": [result]},
                ],
                "tools": [WEATHER | {"cache_control": CACHED}],
                "thinking": {"type": "disabled"},
            }
        )
    )
    endpoint = Endpoint("openai", "m", "gpt", Tier.FAST, 10_000, 100)
    call = wire("openai").encode(parse(raw, Limits()), endpoint, Target("https://a.test", "k"))

    assert b"extra_content" in raw
    for word in (b"extra_content", b"cache_control", b"is_error", b"reasoning_effort"):
        assert word not in call.body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"nonsense": 1}, "nonsense"),
        ({"speed": "fast"}, "speed"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"service_tier": []}, "service_tier"),
        ({"output_config": {"effort": {}}}, "output_config.effort"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]},
            "messages.0.content.0.type",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                    }
                ]
            },
            "messages.0.content.0.source.type",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "document", "source": {}, "citations": {"enabled": True}}
                        ],
                    }
                ]
            },
            "messages.0.content.0.citations",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools.0.type"),
        ({"tools": [WEATHER | {"defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "one"}}, "tool_choice.type"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
            "output_config.effort",
        ),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields, param):
    with pytest.raises(InvalidRequest) as refused:
        normal(**fields)

    assert refused.value.param == param
    assert param in refused.value.message


@pytest.mark.parametrize(
    ("param", "name"),
    [
        ("messages[0].content", "system"),
        ("messages[2].content[0].type", "messages.1.content.0"),
        ("messages[3].content", "messages.1"),
        ("response_format.json_schema", "output_config.format"),
        ("stop", "stop_sequences"),
        ("temperature", "temperature"),
        ("messages[99]", "messages[99]"),
    ],
)
def test_an_error_names_the_field_as_the_caller_wrote_it(param, name):
    result = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
    turns = [*HELLO, {"role": "user", "content": [result, {"type": "text", "text": "y"}]}]
    asked = visit(system="s", messages=turns)

    error = asked.named(InvalidRequest(f"the chosen provider cannot express {param}", param=param))

    assert (error.param, error.message) == (name, f"the chosen provider cannot express {name}")


def test_an_error_without_a_field_stays_as_it_is():
    error = NoEndpoint("none")

    assert visit().named(error) is error


def test_cached_tokens_stand_beside_the_others():
    details = {"cached_tokens": 5, "cache_write_tokens": 1}

    usage = told({"content": "hi"}, usage=USAGE | {"prompt_tokens_details": details})["usage"]

    assert (usage["input_tokens"], usage["output_tokens"]) == (3, 4)
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (5, 1)


def test_where_no_usage_was_told_what_was_charged_is():
    usage = told({"content": "hi"})["usage"]

    assert (usage["input_tokens"], usage["output_tokens"]) == (3, 2)


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": "a"}, "stop", "end_turn"),
        ({"content": "a"}, "length", "max_tokens"),
        ({"content": None, "refusal": "no"}, "content_filter", "refusal"),
        (
            {"tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]},
            "stop",
            "tool_use",
        ),
    ],
)
def test_the_reason_to_stop_is_anthropic_s(message, finish, reason):
    assert told(message, finish)["stop_reason"] == reason


def test_a_stop_sequence_that_was_met_is_told():
    body = chunk() | {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    body["choices"][0]["stop_reason"] = "END"

    answer = orjson.loads(visit().answer(body, None))

    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "END")


def test_arguments_that_are_no_object_are_a_bad_answer_unless_cut_off():
    call = {"id": "t", "function": {"name": "f", "arguments": '{"a": '}}

    assert told({"tool_calls": [call]}, "length")["content"][0]["input"] == {}
    with pytest.raises(BadAnswer, match="'f'"):
        told({"tool_calls": [call]})


def test_thoughts_calls_and_text_are_blocks_one_after_another():
    call = {"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}
    events = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"extra_content": {"anthropic": {"thinking_blocks": [THOUGHT]}}}),
        chunk({"content": "I "}),
        chunk({"content": "look"}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}),
        chunk({"tool_calls": [call | {"index": 1, "id": "u"}]}),
        chunk(finish="tool_calls"),
        {"choices": [], "usage": USAGE, "compass": {"cost_micro_usd": 7}},
    )

    seen = [
        (event["type"].removeprefix("content_block_"), event["index"]) for event in events[1:-2]
    ]
    assert seen == [
        *[("start", 0), ("delta", 0), ("delta", 0), ("stop", 0)],
        *[("start", 1), ("delta", 1), ("delta", 1), ("stop", 1)],
        *[("start", 2), ("delta", 2), ("stop", 2)],
        *[("start", 3), ("stop", 3)],
    ]
    assert events[3]["delta"] == {"type": "signature_delta", "signature": "c2ln"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"]["input_tokens"] == 9
    assert events[-2]["compass"] == {"cost_micro_usd": 7}


def test_thoughts_that_were_asked_to_be_left_out_are():
    shown = {"type": "adaptive", "display": "omitted"}
    extra = {"anthropic": {"thinking_blocks": [THOUGHT]}}
    events = streamed(
        chunk({"reasoning_content": "hm"}), chunk({"extra_content": extra}), thinking=shown
    )
    body = {"choices": [{"message": {"extra_content": extra}, "finish_reason": "stop"}]}
    whole = orjson.loads(visit(thinking=shown).answer(body, None))

    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert deltas == [{"type": "signature_delta", "signature": "c2ln"}]
    assert whole["content"] == [THOUGHT | {"thinking": ""}]


def test_a_stream_that_says_nothing_is_still_a_message():
    kinds = [event["type"] for event in streamed()]

    assert kinds == ["message_start", "message_delta", "message_stop"]


def test_a_stream_may_not_go_back_to_an_earlier_call():
    call = {"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}
    writer = visit()
    writer.event(chunk({"tool_calls": [call, call | {"index": 1}]}))

    with pytest.raises(BadAnswer, match="earlier call"):
        writer.event(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "role", "content", "text", "source", "data", "id", "name", "input"),
                    *("tool_use_id", "thinking", "signature", "format", "effort", "schema"),
                ]
            ),
            inner
            | st.sampled_from(["text", "image", "document", "tool_use", "thinking", "base64"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)
FIELDS = ("system", "messages", "tools", "tool_choice", "thinking", "output_config", "metadata")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), st.lists(JSON, max_size=3))
def test_any_json_is_translated_or_refused(fields, blocks):
    turns = [{"role": role, "content": blocks} for role in ("assistant", "user")]

    with contextlib.suppress(InvalidRequest):
        raw, _ = DOOR.enter(
            orjson.dumps({"model": "m", "max_tokens": 1, "messages": turns} | fields)
        )
        parse(raw, Limits())


def test_a_stream_that_begins_anew_is_refused_and_one_that_goes_on_is_not():
    writer = visit()
    writer.event(chunk({"content": "Once"}))
    writer.event(chunk({"content": ""}, compass={"event": "continue"}))

    with pytest.raises(BrokenStream):
        writer.event(chunk({"role": "assistant"}, compass={"event": "restart"}))
