"""OpenAI's Responses dialect: what a request becomes, and what an answer is told as."""

import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.doors.responses import ResponsesDoor
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.types.errors import BadAnswer, BrokenStream, InvalidRequest
from compass_ray.types.usage import Usage

DOOR = ResponsesDoor()
SEALED = ["reasoning.encrypted_content"]
BLOCK = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
EXTRA = {"anthropic": {"thinking_blocks": [BLOCK]}}
CALL = {"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def enter(**fields):
    return DOOR.enter(orjson.dumps({"model": "m", "input": "hi"} | fields))


def normal(**fields):
    """Return what a request is in the normal form, as a dictionary."""
    return orjson.loads(enter(**fields)[0])


def told(message, finish="stop", asked=None, **fields):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "created": 5, "model": "m", "choices": [choice], **fields}
    return orjson.loads(enter(**(asked or {}))[1].answer(body, Usage(3, 2)))


def chunk(delta=None, finish=None, **fields):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "created": 5, "model": "m", "choices": [choice], **fields}


def streamed(*chunks, **fields):
    writer = enter(**fields)[1]
    text = b"".join([*map(writer.event, chunks), writer.end(Usage(3, 2))]).decode()
    return [json.loads(block.partition("data: ")[2]) for block in text.split("\n\n")[:-1]]


def test_items_become_the_messages_they_stand_for():
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    said = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed"}
    text = {"type": "output_text", "text": "I look.", "annotations": []}

    messages = normal(
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "input_text", "text": "look"}]},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
            },
            said | {"content": [text]},
            call,
            call | {"call_id": "b"},
            {"type": "function_call_output", "call_id": "a", "output": "rain"},
            {"type": "function_call_output", "call_id": "b", "output": []},
            said | {"content": [text]},
            said | {"content": [text]},
        ],
    )["messages"]

    assert [message["role"] for message in messages] == [
        *("system", "developer", "user", "assistant", "tool", "tool", "assistant", "assistant")
    ]
    assert messages[2] == {"role": "user", "content": "look"}
    assert messages[3]["content"] == "I look."
    assert messages[3]["reasoning_content"] == "hm"
    assert [call["id"] for call in messages[3]["tool_calls"]] == ["a", "b"]
    assert messages[4] == {"role": "tool", "tool_call_id": "a", "content": "rain"}


def test_the_fields_find_their_places():
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    wish = {"type": "json_schema", "name": "n", "schema": {}, "strict": True}

    body = normal(
        max_output_tokens=9,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": wish, "verbosity": "low"},
        tools=[tool],
        tool_choice={
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "f"}],
        },
        parallel_tool_calls=False,
        stream=True,
        metadata={"a": "b"},
    )

    function = {name: value for name, value in tool.items() if name != "type"}
    named = {"type": "function", "function": {"name": "f"}}
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {}, "strict": True},
        },
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [named]},
        },
        "parallel_tool_calls": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [{"role": "robot", "content": ""}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "odd"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"type": "reasoning", "encrypted_content": "gAAA"}]},
            "input[0].encrypted_content",
        ),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"truncation": "auto"}, "truncation"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function", "name": "f"}], "tool_choice": 5}, "tool_choice"),
        (
            {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "mcp"}},
            "tool_choice.type",
        ),
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
        ("messages[0].content", "instructions"),
        ("messages[1].content[0]", "input"),
        ("max_tokens", "max_output_tokens"),
        ("response_format.json_schema", "text.format"),
        ("temperature", "temperature"),
    ],
)
def test_an_error_names_the_field_as_the_caller_wrote_it(param, name):
    _, visit = enter(instructions="Be brief.")

    assert visit.named(InvalidRequest(f"no {param}", param=param)).message == f"no {name}"


def test_what_a_provider_wants_back_travels_sealed():
    answer = told(
        {"content": "hi", "reasoning_content": "hm", "extra_content": EXTRA},
        asked={"include": SEALED},
    )

    thought, said = answer["output"]
    back = normal(input=[thought, said])["messages"]

    assert thought["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert back == [
        {
            "role": "assistant",
            "content": "hi",
            "reasoning_content": "hm",
            "extra_content": EXTRA,
        }
    ]


def test_nothing_is_sealed_that_was_not_asked_for():
    answer = told({"content": "hi", "reasoning_content": "hm", "extra_content": EXTRA})

    assert "encrypted_content" not in answer["output"][0]


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_end_is_told(finish, status, reason):
    answer = told({"content": "hi"}, finish)

    assert (answer["status"], answer["incomplete_details"]) == (status, reason)
    assert answer["output"][-1]["status"] == status


def test_where_no_usage_was_told_what_was_charged_is():
    usage = told({"content": "hi"})["usage"]

    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (3, 2, 5)


def test_a_refusal_is_a_part_of_its_own():
    (said,) = told({"content": None, "refusal": "no"})["output"]

    assert said["content"] == [{"type": "refusal", "refusal": "no"}]


def test_thoughts_text_and_calls_are_items_one_after_another():
    events = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"extra_content": EXTRA}),
        chunk({"content": "I "}),
        chunk({"content": "look"}),
        chunk({"tool_calls": [CALL]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
        chunk({"tool_calls": [CALL | {"index": 1, "id": "u"}]}),
        chunk(finish="tool_calls"),
        {"choices": [], "usage": USAGE},
        include=SEALED,
    )

    last = events[-1]["response"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == [
        *("reasoning", "message", "function_call", "function_call")
    ]
    assert last["output"] == done
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["output_index"] for event in events[2:-1]] == sorted(
        event["output_index"] for event in events[2:-1]
    )
    assert len({item["id"] for item in done}) == 4
    assert normal(input=done)["messages"][0]["extra_content"] == EXTRA
    assert last["usage"]["total_tokens"] == 13


def test_a_stream_that_says_nothing_is_still_a_response():
    kinds = [event["type"].removeprefix("response.") for event in streamed()]

    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]


def test_a_stream_may_not_go_back_to_an_earlier_call():
    _, visit = enter()
    visit.event(chunk({"tool_calls": [CALL, CALL | {"index": 1}]}))

    with pytest.raises(BadAnswer, match="earlier call"):
        visit.event(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]}))


def test_a_failure_is_the_next_event():
    _, visit = enter()
    visit.event(chunk({"content": "hi"}))

    frame = visit.failure(BrokenStream("cut"), "req_1")

    event = json.loads(frame.partition(b"data: ")[2])
    assert (event["type"], event["message"]) == ("error", "cut")
    assert event["sequence_number"] == 5
    assert event["error"]["request_id"] == "req_1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "role", "content", "text", "summary", "arguments", "call_id", "name"),
                    *("output", "encrypted_content", "format", "effort", "schema", "image_url"),
                ]
            ),
            inner
            | st.sampled_from(
                ["message", "function_call", "function_call_output", "reasoning", "input_text"]
            ),
            max_size=4,
        )
    ),
    max_leaves=20,
)
FIELDS = ("input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "user")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_any_json_is_translated_or_refused(fields):
    with contextlib.suppress(InvalidRequest):
        parse(enter(**fields)[0], Limits())


def test_a_stream_that_begins_anew_is_refused_and_one_that_goes_on_is_not():
    _, writer = DOOR.enter(orjson.dumps({"model": "m", "input": "hi", "stream": True}))
    writer.event(chunk({"content": "Once"}))
    writer.event(chunk({"content": ""}, compass={"event": "continue"}))

    with pytest.raises(BrokenStream):
        writer.event(chunk({"role": "assistant"}, compass={"event": "restart"}))
