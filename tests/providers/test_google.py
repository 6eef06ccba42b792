import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from compass_ray.providers.google import GoogleWire
from compass_ray.providers.google_request import FIELDS
from compass_ray.types.errors import BadAnswer, InvalidRequest, Overloaded

WIRE = GoogleWire()
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
def send(chat, endpoint, target):
    """Return a function from fields to the body that is sent to a model."""

    def send(model="gemini-3.8-flash", capabilities=("reasoning",), **fields):
        to = endpoint("google", model, capabilities)
        return orjson.loads(WIRE.encode(chat(**fields), to, target).body)

    return send


def candidate(finish=None, *parts, **more):
    out = {"content": {"role": "model", "parts": list(parts)}, **more}
    return out if finish is None else {**out, "finishReason": finish}


def response(*candidates, **more):
    return orjson.dumps({"candidates": list(candidates), **more})


def test_every_field_openai_has_is_decided_about():
    assert CompletionCreateParamsBase.__annotations__.keys() - FIELDS.keys() == set()


@pytest.mark.parametrize(
    ("stream", "method"),
    [(False, "generateContent"), (True, "streamGenerateContent?alt=sse")],
)
def test_the_call_names_model_and_method(stream, method, chat, endpoint, target):
    call = WIRE.encode(chat(stream=stream), endpoint("google", "gemini-x"), target)

    assert call.url == f"https://api.example.com/v1beta/models/gemini-x:{method}"
    assert call.headers["x-goog-api-key"] == target.key


def test_generation_settings_go_by_googles_names(send):
    config = send(
        temperature=0.3,
        top_p=0.9,
        n=2,
        seed=2**40 + 5,
        stop="END",
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logprobs=True,
        top_logprobs=3,
        max_tokens=50,
        response_format={"type": "json_object"},
    )["generationConfig"]

    assert config == {
        "temperature": 0.3,
        "topP": 0.9,
        "candidateCount": 2,
        "seed": 5,
        "stopSequences": ["END"],
        "presencePenalty": 0.5,
        "frequencyPenalty": -0.5,
        "responseLogprobs": True,
        "logprobs": 3,
        "maxOutputTokens": 50,
        "responseMimeType": "application/json",
    }


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "MINIMAL"}),
        ("gemini-4-argon", "max", {"thinkingLevel": "XHIGH"}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24_576}),
        ("gemini-2.5-flash-lite", "none", {"thinkingBudget": 0}),
    ],
)
def test_reasoning_effort_by_generation(model, effort, thinking, send):
    body = send(model=model, reasoning_effort=effort)

    assert body["generationConfig"]["thinkingConfig"] == thinking


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": "none"}, "reasoning_effort"),
        ({"reasoning_effort": "low", "capabilities": ()}, "reasoning_effort"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"messages": [{"role": "tool", "tool_call_id": "z", "content": "1"}]},
            "messages[0].tool_call_id",
        ),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].input_audio",
        ),
    ],
)
def test_what_gemini_cannot_do_is_refused_by_name(fields, param, send):
    with pytest.raises(InvalidRequest) as refusal:
        send(**fields)

    assert refusal.value.param == param


def test_a_tool_result_names_the_function_it_answers(send):
    body = send(
        messages=[
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": "sunny"},
        ]
    )

    answer = {"id": "a", "name": "f", "response": {"output": "sunny"}}
    assert body["contents"][2] == {"role": "user", "parts": [{"functionResponse": answer}]}


def test_audio_and_images_travel_inline_or_by_address(send):
    parts = [
        {"type": "input_audio", "input_audio": {"data": "QUFB", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png?s=1"}},
        {"type": "image_url", "image_url": {"url": "https://x.example/a"}},
    ]

    sent = send(messages=[{"role": "user", "content": parts}])["contents"][0]["parts"]

    assert sent == [
        {"inlineData": {"mimeType": "audio/wav", "data": "QUFB"}},
        {"fileData": {"fileUri": "https://x.example/a.png?s=1", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://x.example/a"}},
    ]


def test_a_thought_signature_comes_back_with_the_history(send, state):
    part = {"functionCall": {"id": "a", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}
    answer = WIRE.decode(response(candidate("STOP", part)), state())

    message = answer.body["choices"][0]["message"]
    again = send(messages=[{"role": "user", "content": "Q"}, message], tools=[TOOL])

    assert again["contents"][1]["parts"] == [part]


@pytest.mark.parametrize(
    ("model", "signed"), [("gemini-3.8-flash", [True, False]), ("gemini-2.5-pro", [False, False])]
)
def test_a_lost_signature_is_stood_in_for_where_the_model_demands_one(model, signed, send):
    calls = [CALL, {**CALL, "id": "b"}]
    history = [{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": calls}]

    parts = send(model=model, messages=history)["contents"][1]["parts"]

    assert ["thoughtSignature" in part for part in parts] == signed


def test_calls_without_an_id_get_one_of_their_own(state):
    part = {"functionCall": {"name": "f"}}

    message = WIRE.decode(response(candidate("STOP", part, part)), state()).body["choices"][0]

    ids = [call["id"] for call in message["message"]["tool_calls"]]
    assert ids == ["call_chatcmpl-req1_0_0", "call_chatcmpl-req1_0_1"]
    assert message["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("A_REASON_OF_THE_FUTURE", "stop"),
    ],
)
def test_finish_reasons(reason, ours, state):
    assert WIRE.decode(response(candidate(reason)), state()).finish_reason == ours


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", None])
def test_an_answer_the_model_garbled_or_did_not_finish_is_a_bad_answer(reason, state):
    with pytest.raises(BadAnswer):
        WIRE.decode(response(candidate(reason, {"text": "a"})), state())


def test_a_blocked_prompt_is_a_filtered_answer_with_its_usage(state):
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}

    answer = WIRE.decode(orjson.dumps(body), state())

    assert answer.finish_reason == "content_filter"
    assert answer.usage.input_tokens == 9


def test_log_probabilities_take_openais_shape(state):
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "e", "logProbability": -1}]}],
    }

    answer = WIRE.decode(response(candidate("STOP", logprobsResult=result)), state())

    top = {"token": "e", "logprob": -1.0, "bytes": [101]}
    token = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [top]}
    assert answer.body["choices"][0]["logprobs"] == {"content": [token], "refusal": None}


def test_a_stream_is_done_when_its_last_choice_is(state):
    now = state()

    first = WIRE.decode_chunk("", response(candidate(None, {"text": "a"}, index=1)), now)
    second = WIRE.decode_chunk("", response(candidate("STOP", {"text": "b"})), now)
    third = WIRE.decode_chunk("", response(candidate("STOP", index=1)), now)

    assert [any(one.done for one in chunks) for chunks in (first, second, third)] == [0, 0, 1]


def test_usage_that_comes_after_the_finish_is_still_told(state):
    now = state()
    WIRE.decode_chunk("", response(candidate("STOP", {"text": "a"})), now)

    late = WIRE.decode_chunk("", b'{"usageMetadata":{"promptTokenCount":4}}', now)

    assert late[0].body["usage"]["prompt_tokens"] == 4
    assert late[-1].done


def test_an_error_event_has_the_blame_of_its_status(state):
    event = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}

    with pytest.raises(Overloaded):
        WIRE.decode_chunk("", orjson.dumps(event), state())
