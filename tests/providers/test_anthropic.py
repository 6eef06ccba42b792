import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from compass_ray.providers.anthropic import SAMPLING_VERSION, VERSION, AnthropicWire
from compass_ray.providers.anthropic_models import generation
from compass_ray.providers.anthropic_request import FIELDS
from compass_ray.types.errors import BadAnswer, InvalidRequest, Overloaded, QuotaExhausted

WIRE = AnthropicWire()
OLD, NEW = "claude-haiku-4-5", "claude-opus-5-5"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "g"}}


@pytest.fixture
def send(chat, endpoint, target):
    """Return a function from fields to the body that is sent to a model."""

    def send(model=NEW, capabilities=("reasoning",), limit=4096, **fields):
        to = endpoint("anthropic", model, capabilities, limit)
        return orjson.loads(WIRE.encode(chat(**fields), to, target).body)

    return send


def refused(send, **fields):
    with pytest.raises(InvalidRequest) as refusal:
        send(**fields)
    return refusal.value.param


def test_every_field_openai_has_is_decided_about():
    assert CompletionCreateParamsBase.__annotations__.keys() - FIELDS.keys() == set()


def test_the_call_goes_to_messages_with_key_and_version(chat, endpoint, target):
    call = WIRE.encode(chat(), endpoint("anthropic"), target)

    assert call.url == "https://api.example.com/v1/messages"
    assert call.headers["x-api-key"] == target.key
    assert call.headers["anthropic-version"] == VERSION


def test_the_conversation_keeps_its_order_and_alternates(send):
    body = send(
        messages=[
            {"role": "system", "content": "A"},
            {"role": "user", "content": "B"},
            {"role": "user", "content": ""},
            {"role": "user", "content": "C"},
            {"role": "assistant", "content": "D"},
            {"role": "developer", "content": "E"},
        ]
    )

    assert [block["text"] for block in body["system"]] == ["A", "E"]
    assert [(turn["role"], len(turn["content"])) for turn in body["messages"]] == [
        ("user", 2),
        ("assistant", 1),
    ]


def test_results_of_parallel_calls_stand_together_before_the_next_question(send):
    calls = [
        {"id": name, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
        for name in ("a", "b")
    ]
    body = send(
        messages=[
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": "2"},
            {"role": "user", "content": "R"},
        ]
    )

    kinds = [[block["type"] for block in turn["content"]] for turn in body["messages"]]
    assert kinds == [["text"], ["tool_use", "tool_use"], ["tool_result", "tool_result", "text"]]
    assert body["messages"][1]["content"][0]["input"] == {"x": 1}


def test_a_conversation_of_nothing_is_refused(send):
    assert refused(send, messages=[{"role": "user", "content": ""}]) == "messages"


def test_the_callers_cache_marks_are_kept(send):
    mark = {"type": "ephemeral"}
    part = {"type": "text", "text": "long", "cache_control": mark}

    body = send(messages=[{"role": "user", "content": [part]}])

    assert body["messages"][0]["content"][0]["cache_control"] == mark


def test_an_image_of_a_type_claude_cannot_read_is_refused(send):
    part = {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}}

    param = refused(send, messages=[{"role": "user", "content": [part]}])

    assert param == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, True, {"type": "tool", "name": "f"}),
    ],
)
def test_the_choice_of_tools(choice, parallel, expected, send):
    body = send(tools=[TOOL, OTHER], tool_choice=choice, parallel_tool_calls=parallel)

    assert body.get("tool_choice") == expected


def test_an_allow_list_leaves_the_other_tools_out(send):
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}

    body = send(
        tools=[TOOL, OTHER], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
    )

    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "h"}}, "sometimes"]
)
def test_a_choice_of_a_tool_that_is_not_there_is_refused(choice, send):
    tools = [] if choice == "required" else [TOOL]

    assert refused(send, tools=tools, tool_choice=choice) == "tool_choice"


@pytest.mark.parametrize("field", ["temperature", "top_p"])
def test_sampling_is_sent_to_the_models_that_have_it(field, chat, endpoint, target):
    call = WIRE.encode(chat(**{field: 0.5}), endpoint("anthropic", OLD), target)

    assert orjson.loads(call.body)[field] == 0.5
    assert call.headers["anthropic-version"] == SAMPLING_VERSION


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (NEW, {"temperature": 0}, "temperature"),
        (NEW, {"top_p": 0.5}, "top_p"),
        (OLD, {"temperature": 1.2}, "temperature"),
        (OLD, {"temperature": 0.2, "top_p": 0.5}, "top_p"),
        (OLD, {"temperature": 0.2, "reasoning_effort": "low"}, "temperature"),
        (NEW, {"n": 2}, "n"),
        (NEW, {"logprobs": True}, "logprobs"),
        (NEW, {"frequency_penalty": 0.1}, "frequency_penalty"),
        (NEW, {"response_format": {"type": "json_object"}}, "response_format.type"),
        ("claude-fable-5-2", {"reasoning_effort": "none"}, "reasoning_effort"),
        (OLD, {"reasoning_effort": "low", "max_tokens": 1024}, "reasoning_effort"),
    ],
)
def test_what_claude_cannot_do_is_refused_by_name(model, fields, param, send):
    assert refused(send, model=model, **fields) == param


def test_values_that_ask_for_nothing_are_left_out(send):
    asked = {"n": 1, "temperature": 1, "top_p": 1.0, "logprobs": False, "presence_penalty": 0}

    assert send(**asked) == send()


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "config"),
    [
        (NEW, "minimal", {"type": "adaptive"}, {"effort": "low"}),
        (NEW, "max", {"type": "adaptive"}, {"effort": "max"}),
        (NEW, "none", {"type": "disabled"}, None),
        (OLD, "low", {"type": "enabled", "budget_tokens": 1024}, None),
        (OLD, "high", {"type": "enabled", "budget_tokens": 3276}, None),
        (OLD, "none", None, None),
    ],
)
def test_reasoning_effort_by_generation(model, effort, thinking, config, send):
    body = send(model=model, reasoning_effort=effort)

    assert body.get("thinking") == thinking
    assert body.get("output_config") == config


def test_a_forced_tool_is_not_thought_about_but_the_effort_stays(send):
    body = send(reasoning_effort="high", tools=[TOOL], tool_choice="required")

    assert "thinking" not in body
    assert body["output_config"] == {"effort": "high"}


def test_an_endpoint_that_does_not_reason_refuses_an_effort(send):
    assert refused(send, capabilities=(), reasoning_effort="low") == "reasoning_effort"


@pytest.mark.parametrize(
    ("name", "sampling", "adaptive", "prefills"),
    [
        ("claude-3-7-sonnet-20250219", True, False, True),
        ("claude-sonnet-4-20250514", True, False, True),
        ("claude-haiku-4-5-20251001", True, False, True),
        ("claude-sonnet-4-6", True, True, False),
        ("claude-opus-4-7", False, True, False),
        ("claude-opus-5", False, True, False),
        ("claude-next", False, True, False),
    ],
)
def test_the_generation_is_told_by_the_name(name, sampling, adaptive, prefills):
    found = generation(name)

    assert (found.sampling, found.adaptive, found.prefills) == (sampling, adaptive, prefills)


def test_thinking_goes_out_with_the_answer_and_back_in_with_the_history(send, state):
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    body = {"type": "message", "id": "m", "content": [thought, use], "stop_reason": "tool_use"}

    message = WIRE.decode(orjson.dumps(body), state()).body["choices"][0]["message"]
    again = send(messages=[{"role": "user", "content": "Q"}, message], tools=[TOOL])

    assert again["messages"][1]["content"] == [thought, use]


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("pause_turn", "stop"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("a_reason_of_the_future", "stop"),
    ],
)
def test_stop_reasons(reason, ours, state):
    body = {"type": "message", "content": [], "stop_reason": reason}

    assert WIRE.decode(orjson.dumps(body), state()).finish_reason == ours


def test_events_and_deltas_of_the_future_are_skipped(state):
    later = {"type": "content_block_delta", "index": 0, "delta": {"type": "mood_delta"}}

    assert WIRE.decode_chunk("ping", b'{"type":"ping"}', state()) == []
    assert WIRE.decode_chunk("x", b'{"type":"an_event_of_the_future"}', state()) == []
    assert WIRE.decode_chunk("content_block_delta", orjson.dumps(later), state()) == []


def test_a_delta_of_a_block_that_never_began_is_a_bad_answer(state):
    delta = {"type": "input_json_delta", "partial_json": "{"}
    event = {"type": "content_block_delta", "index": 3, "delta": delta}

    with pytest.raises(BadAnswer):
        WIRE.decode_chunk("content_block_delta", orjson.dumps(event), state())


@pytest.mark.parametrize(
    ("kind", "cls"), [("overloaded_error", Overloaded), ("billing_error", QuotaExhausted)]
)
def test_an_error_event_has_the_blame_of_its_type(kind, cls, state):
    event = {"type": "error", "error": {"type": kind, "message": "x"}}

    with pytest.raises(cls):
        WIRE.decode_chunk("error", orjson.dumps(event), state())


def test_usage_of_a_stream_is_known_from_its_first_event(state):
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1}
    event = {"type": "message_start", "message": {"id": "m", "usage": usage}}

    (first,) = WIRE.decode_chunk("message_start", orjson.dumps(event), state())

    assert first.usage.input_tokens == 12
    assert first.usage.cached_input_tokens == 7


def test_a_refusal_in_the_history_is_told_as_text(send):
    history = [{"role": "user", "content": "Q"}, {"role": "assistant", "refusal": "No."}]

    body = send(messages=history)

    assert body["messages"][1]["content"] == [{"type": "text", "text": "No."}]


def test_audio_is_refused(send):
    part = {"type": "input_audio", "input_audio": {"data": "QUFB", "format": "wav"}}

    param = refused(send, messages=[{"role": "user", "content": [part]}])

    assert param == "messages[0].content[0].type"


def test_a_tool_that_anthropic_runs_itself_is_not_the_callers_to_run(state):
    now = state()
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    delta = {"type": "input_json_delta", "partial_json": "{}"}
    more = {"type": "content_block_delta", "index": 0, "delta": delta}

    assert WIRE.decode_chunk("content_block_start", orjson.dumps(start), now) == []
    assert WIRE.decode_chunk("content_block_delta", orjson.dumps(more), now) == []
