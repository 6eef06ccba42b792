"""What every wire keeps: one suite over all of them, with the official SDKs as oracles."""

from pathlib import Path

import orjson
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from google.genai import types as google
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter
from replicate.prediction import Prediction, Predictions
from replicate.stream import ServerSentEvent

from compass_ray.providers.base import StreamState
from compass_ray.providers.registry import KINDS, wire
from compass_ray.types import errors
from compass_ray.types.errors import BadAnswer, BrokenStream
from compass_ray.types.usage import Usage

SAMPLES = Path(__file__).parent / "wire"
REQUESTS = orjson.loads((SAMPLES / "requests.json").read_bytes())
LLAMA_INPUT = frozenset(
    {"prompt", "system_prompt", "prompt_template", "max_tokens", "min_tokens", "seed"}
    | {"temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "stop_sequences"}
)
"""The inputs of replicate/cog-vllm, which serves Llama there."""
IMPOSSIBLE_COUNTS = (-1, 1.5, 2**63, 2**80, True, "7", None, [], {})

INEXPRESSIBLE = {
    ("huggingface", "document"): "messages[0].content[0].type",
    ("replicate", "images"): "messages[0].content[1]",
    ("replicate", "document"): "messages[0].content[0]",
    ("replicate", "json_schema"): "response_format",
    ("replicate", "reasoning"): "reasoning_effort",
    **{
        ("replicate", name): "tools"
        for name in ("tools", "forced_tool", "any_tool", "no_tool", "tool_results")
    },
}
"""The requests that a provider cannot be asked, and the field that it is told by."""
EXPRESSIBLE = [
    (kind, name) for kind in KINDS for name in REQUESTS if (kind, name) not in INEXPRESSIBLE
]

each_wire = pytest.mark.parametrize("kind", KINDS)
each_translator = pytest.mark.parametrize(
    "kind", ["anthropic", "google", "huggingface", "replicate"]
)
each_with_tools = pytest.mark.parametrize("kind", ["anthropic", "google", "huggingface"])


def samples(prefix):
    found = sorted(SAMPLES.glob(f"*/{prefix}_*.json"))
    return [pytest.param(p.parent.name, p, id=f"{p.parent.name}-{p.stem}") for p in found]


def new_state():
    return StreamState("chatcmpl-req1", 1_763_900_000, "the-model")


def stream_of(kind, path, state):
    """Decode a recorded stream, event by event."""
    events = orjson.loads(path.read_bytes())
    data = [(name, as_sent(body)) for name, body in events]
    return [chunk for event in data for chunk in wire(kind).decode_chunk(*event, state)]


def as_sent(body):
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def joined(bodies):
    """Put streamed chunks together as a client does: choice index to message and finish."""
    choices = {}
    for choice in (choice for body in bodies for choice in body["choices"]):
        message = choices.setdefault(choice["index"], {"tool_calls": {}, "thinking": []})
        delta = choice["delta"]
        for name in ("role", "content", "reasoning_content"):
            if delta.get(name) is not None:
                message[name] = message.get(name, "") + delta[name]
        message["thinking"] += thinking(delta)
        for call in delta.get("tool_calls") or ():
            whole = message["tool_calls"].setdefault(call["index"], {"arguments": ""})
            whole["arguments"] += call["function"].get("arguments") or ""
            whole |= {name: call[name] for name in ("id", "type", "extra_content") if name in call}
            if call["function"].get("name"):
                whole["name"] = call["function"]["name"]
        if choice["finish_reason"] is not None:
            message["finish_reason"] = choice["finish_reason"]
    return choices


def thinking(message):
    return message.get("extra_content", {}).get("anthropic", {}).get("thinking_blocks", [])


def told(answer):
    """Return the whole answer in the same shape as `joined`."""
    choices = {}
    for choice in answer.body["choices"]:
        message = choice["message"]
        out = {"role": "assistant", "thinking": thinking(message), "tool_calls": {}}
        for name in ("content", "reasoning_content"):
            if message.get(name):
                out[name] = message[name]
        for index, call in enumerate(message.get("tool_calls") or ()):
            extra = {name: call[name] for name in ("id", "type", "extra_content") if name in call}
            out["tool_calls"][index] = {**call["function"], **extra}
        out["finish_reason"] = choice["finish_reason"]
        choices[choice["index"]] = out
    return choices


def without_empty(choices):
    return {
        index: {name: value for name, value in message.items() if value != ""}
        for index, message in choices.items()
    }


@pytest.mark.parametrize(("kind", "name"), EXPRESSIBLE)
def test_a_request_is_what_the_official_sdk_would_send(kind, name, chat, call, conforms):
    request = chat(**REQUESTS[name])

    sent = orjson.loads(call(kind, request).body)

    if kind == "anthropic":
        stream = MessageCreateParamsStreaming if request.stream else MessageCreateParamsNonStreaming
        conforms(sent, stream)
    elif kind == "google":
        config = sent.pop("generationConfig")
        tools = {name: sent.pop(name) for name in ("tools", "toolConfig") if name in sent}
        system = {"systemInstruction": sent.pop("systemInstruction", None)}
        google.GenerateContentConfig.model_validate({**config, **tools, **system})
        TypeAdapter(list[google.Content]).validate_python(sent.pop("contents"))
        assert sent == {}
    elif kind == "replicate":
        assert sent.pop("input").keys() <= LLAMA_INPUT
        assert sent.keys() <= Predictions.CreatePredictionParams.__annotations__.keys()
    else:
        stream = (
            CompletionCreateParamsStreaming
            if request.stream
            else CompletionCreateParamsNonStreaming
        )
        conforms(sent, stream)


@pytest.mark.parametrize(("kind", "name"), INEXPRESSIBLE)
def test_a_request_that_cannot_be_asked_is_refused_by_its_field(kind, name, chat, call):
    with pytest.raises(errors.InvalidRequest) as refusal:
        call(kind, chat(**REQUESTS[name]))

    assert refusal.value.param == INEXPRESSIBLE[kind, name]


@pytest.mark.parametrize("kind", ["openai", "azure", "local"])
@pytest.mark.parametrize("field", ["base_url", "api_base", "url", "azure_endpoint"])
def test_no_request_says_where_it_goes(kind, field, chat, call):
    elsewhere = chat(**{field: "http://169.254.169.254"})

    assert call(kind, elsewhere).url == call(kind, chat()).url


@each_translator
@pytest.mark.parametrize("field", ["base_url", "api_base", "url", "azure_endpoint"])
def test_a_request_that_says_where_it_goes_is_refused(kind, field, chat, call):
    with pytest.raises(errors.InvalidRequest) as refusal:
        call(kind, chat(**{field: "http://169.254.169.254"}))

    assert refusal.value.param == field


@each_wire
def test_the_key_travels_in_a_header_and_shows_in_no_repr(kind, chat, call):
    made = call(kind, chat())

    assert any("sk-canary" in value for value in made.headers.values())
    assert "canary" not in repr(made)
    assert "canary" not in made.url
    assert b"canary" not in made.body


@each_wire
def test_no_header_is_sent_without_a_key(kind, chat, endpoint, target):
    keyless = type(target)(target.base_url)

    call = wire(kind).encode(chat(), endpoint(kind), keyless)

    assert not call.headers.keys() & {"authorization", "api-key", "x-api-key", "x-goog-api-key"}


@pytest.mark.parametrize(("kind", "name"), EXPRESSIBLE)
def test_the_request_is_not_changed_by_encoding_it(kind, name, chat, call):
    request = chat(**REQUESTS[name])
    before = orjson.dumps(request.body)

    call(kind, request)

    assert orjson.dumps(request.body) == before


@each_wire
def test_what_only_compass_reads_is_not_sent(kind, chat, call):
    assert b"compass" not in call(kind, chat(compass={"tier": 1})).body


@each_wire
def test_a_limit_beyond_the_endpoints_is_lowered_to_it(kind, chat, call):
    body = call(kind, chat(max_tokens=100_000), limit=777).body

    assert b":777" in body
    assert b"100000" not in body


@each_wire
def test_a_lone_surrogate_is_the_callers_error(kind, chat, call):
    request = chat()
    request.body["messages"][0]["content"] = "\ud800"

    with pytest.raises(errors.InvalidRequest):
        call(kind, request)


@each_translator
@pytest.mark.parametrize(
    "field",
    [
        {"functions": [{"name": "f"}]},
        {"logit_bias": {"50256": -100}},
        {"web_search_options": {}},
        {"audio": {"voice": "alloy", "format": "mp3"}},
        {"modalities": ["text", "audio"]},
        {"verbosity": "high"},
        {"a_field_of_the_future": 1},
        {"tool_choice": {"type": "custom", "custom": {"name": "c"}}},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "maybe"}}},
        {"reasoning_effort": "extreme"},
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(kind, field, chat, call):
    with pytest.raises(errors.InvalidRequest) as refusal:
        call(kind, chat(**field))

    assert refusal.value.param.startswith(next(iter(field)))


@each_with_tools
def test_a_tool_that_is_no_function_is_refused_by_its_place(kind, chat, call):
    request = chat(tools=[{"type": "custom", "custom": {"name": "c"}}])

    with pytest.raises(errors.InvalidRequest) as refusal:
        call(kind, request)

    assert refusal.value.param == "tools[0].type"


def user(kind, **part):
    return {"role": "user", "content": [{"type": kind, **part}]}


def call_of(arguments):
    return {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}


@each_translator
@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user("file", file={"file_id": "f-1"}), "content[0].file.file_id"),
        (user("file", file={"file_data": "JVBERi0"}), "content[0].file.file_data"),
        (user("image_url", image_url={"url": "ftp://x"}), "content[0].image_url.url"),
        ({"role": "assistant", "audio": {"id": "a"}}, "audio"),
        ({"role": "function", "content": "x", "name": "f"}, "role"),
        (
            {"role": "assistant", "tool_calls": [call_of("{oops")]},
            "tool_calls[0].function.arguments",
        ),
    ],
)
def test_a_message_that_cannot_be_expressed_is_refused_by_path(kind, message, param, chat, call):
    request = chat(messages=[{"role": "user", "content": "Hi"}, message])

    with pytest.raises(errors.InvalidRequest) as refusal:
        call(kind, request)

    place = refusal.value.param.removesuffix(".type")  # where it takes no such thing at all
    assert f"messages[1].{param}".startswith(place)
    assert place != "messages[1]"


@pytest.mark.parametrize(("kind", "path"), samples("answer"))
def test_a_recorded_answer_is_one_by_the_official_sdk(kind, path):
    body = orjson.loads(path.read_bytes())

    match kind:
        case "anthropic":
            Message.model_validate(body, strict=True)
        case "google":
            google.GenerateContentResponse.model_validate(body)
        case "replicate":
            Prediction.parse_obj(body)
        case _:
            ChatCompletion.model_validate(body, strict=True)


@pytest.mark.parametrize(("kind", "path"), samples("stream"))
def test_a_recorded_stream_is_one_by_the_official_sdk(kind, path):
    events = [body for _, body in orjson.loads(path.read_bytes())]
    events = [one for one in events if isinstance(one, dict) and one.get("type") != "ping"]

    match kind:
        case "anthropic":
            TypeAdapter(list[RawMessageStreamEvent]).validate_python(events, strict=True)
        case "google":
            TypeAdapter(list[google.GenerateContentResponse]).validate_python(events)
        case "replicate":
            for name, _ in orjson.loads(path.read_bytes())[:-1]:  # the last is our own
                ServerSentEvent.EventType(name)
        case "azure":  # its first is none by OpenAI's own types
            TypeAdapter(list[ChatCompletionChunk]).validate_python(events[1:], strict=True)
        case _:
            TypeAdapter(list[ChatCompletionChunk]).validate_python(events, strict=True)


@pytest.mark.parametrize(("kind", "path"), samples("answer"))
def test_a_decoded_answer_is_a_chat_completion(kind, path):
    answer = wire(kind).decode(path.read_bytes(), new_state())

    parsed = ChatCompletion.model_validate(answer.body, strict=True)
    assert parsed.model == "the-model"
    assert parsed.choices[0].finish_reason == answer.finish_reason
    assert answer.usage is not None
    assert answer.usage.is_credible()
    assert parsed.usage.prompt_tokens == answer.usage.input_tokens == 20
    assert parsed.usage.completion_tokens == answer.usage.output_tokens


def read_by_sdk(kind, body):
    """Return text, tool calls, and tokens in and out, as the provider's own SDK reads them."""
    match kind:
        case "anthropic":
            told = Message.model_validate(body)
            used = told.usage
            return (
                "".join(block.text for block in told.content if block.type == "text"),
                [(block.name, block.input) for block in told.content if block.type == "tool_use"],
                used.input_tokens
                + (used.cache_read_input_tokens or 0)
                + (used.cache_creation_input_tokens or 0),
                used.output_tokens,
            )
        case "google":
            told = google.GenerateContentResponse.model_validate(body)
            used = told.usage_metadata
            parts = told.candidates[0].content.parts if told.candidates else []
            return (
                "".join(part.text for part in parts or () if part.text and not part.thought),
                [(call.name, call.args) for call in told.function_calls or ()],
                used.prompt_token_count,
                used.total_token_count - used.prompt_token_count,
            )
        case "replicate":
            told = Prediction.parse_obj(body)
            used = told.metrics
            return "".join(told.output), [], used["input_token_count"], used["output_token_count"]
        case _:
            told = ChatCompletion.model_validate(body)
            calls = [call.function for call in told.choices[0].message.tool_calls or ()]
            return (
                told.choices[0].message.content or "",
                [(call.name, orjson.loads(call.arguments)) for call in calls],
                told.usage.prompt_tokens,
                told.usage.completion_tokens,
            )


@pytest.mark.parametrize(("kind", "path"), samples("answer"))
def test_a_decoded_answer_says_what_the_official_sdk_reads_in_it(kind, path):
    answer = wire(kind).decode(path.read_bytes(), new_state())

    message = answer.body["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    assert (
        message["content"] or "",
        [(call["name"], orjson.loads(call["arguments"])) for call in calls],
        answer.usage.input_tokens,
        answer.usage.output_tokens,
    ) == read_by_sdk(kind, orjson.loads(path.read_bytes()))


@pytest.mark.parametrize(("kind", "path"), samples("stream"))
def test_a_decoded_stream_is_chat_completion_chunks(kind, path):
    chunks = stream_of(kind, path, new_state())

    bodies = [chunk.body for chunk in chunks if chunk.body is not None]
    parsed = TypeAdapter(list[ChatCompletionChunk]).validate_python(bodies, strict=True)
    assert len({chunk.id for chunk in parsed}) == 1
    assert {chunk.model for chunk in parsed} == {"the-model"}
    assert parsed[0].choices[0].delta.role == "assistant"
    assert parsed[-1].choices == []
    assert parsed[-1].usage is not None
    assert chunks[-1].done
    assert chunks[-1].body is None


@pytest.mark.parametrize(("kind", "path"), samples("stream"))
def test_a_stream_says_the_same_as_the_whole_answer(kind, path):
    whole = wire(kind).decode(
        path.with_name(path.name.replace("stream", "answer")).read_bytes(), new_state()
    )

    chunks = stream_of(kind, path, new_state())

    bodies = [chunk.body for chunk in chunks if chunk.body is not None]
    assert without_empty(joined(bodies)) == without_empty(told(whole))
    assert [chunk.usage for chunk in chunks if chunk.usage][-1] == whole.usage
    finishes = {chunk.finish_reason for chunk in chunks} - {None}
    assert whole.finish_reason in finishes
    assert bodies[0]["id"] == whole.body["id"]


@pytest.mark.parametrize(("kind", "path"), samples("stream"))
def test_the_characters_of_a_stream_are_counted(kind, path):
    chunks = stream_of(kind, path, new_state())

    choices = joined(chunk.body for chunk in chunks if chunk.body is not None).values()
    texts = [
        message.get("content", "") + message.get("reasoning_content", "") for message in choices
    ]
    texts += [call["arguments"] for message in choices for call in message["tool_calls"].values()]
    assert sum(chunk.output_chars for chunk in chunks) == sum(map(len, texts))


@pytest.mark.parametrize(
    ("kind", "name", "usage"),
    [
        ("openai", "answer_text", Usage(20, 6, cached_input_tokens=8)),
        ("azure", "answer_text", Usage(20, 6, cached_input_tokens=8)),
        ("local", "answer_text", Usage(20, 6, cached_input_tokens=8)),
        ("huggingface", "answer_text", Usage(20, 6)),
        ("replicate", "answer_text", Usage(20, 6)),
        ("anthropic", "answer_text", Usage(20, 6, cached_input_tokens=8, cache_write_tokens=2)),
        ("anthropic", "answer_thinking", Usage(20, 30, 8, 24, 2)),
        ("google", "answer_text", Usage(20, 6, cached_input_tokens=8)),
        ("google", "answer_thinking", Usage(20, 30, 8, 24)),
    ],
)
def test_usage_includes_its_parts(kind, name, usage):
    answer = wire(kind).decode((SAMPLES / kind / f"{name}.json").read_bytes(), new_state())

    assert answer.usage == usage


@pytest.mark.parametrize("count", IMPOSSIBLE_COUNTS)
@pytest.mark.parametrize(
    ("kind", "block", "field"),
    [
        ("openai", "usage", "prompt_tokens"),
        ("openai", "usage", "completion_tokens"),
        ("azure", "usage", "prompt_tokens"),
        ("huggingface", "usage", "completion_tokens"),
        ("replicate", "metrics", "input_token_count"),
        ("replicate", "metrics", "output_token_count"),
        ("local", "usage", "prompt_tokens"),
        ("anthropic", "usage", "input_tokens"),
        ("anthropic", "usage", "output_tokens"),
        ("google", "usageMetadata", "promptTokenCount"),
    ],
)
def test_a_usage_that_cannot_be_true_is_no_usage(kind, block, field, count):
    body = orjson.loads((SAMPLES / kind / "answer_text.json").read_bytes())
    body[block][field] = float(count) if isinstance(count, int) and count > 2**64 else count

    answer = wire(kind).decode(orjson.dumps(body), new_state())

    assert answer.usage is None
    assert "usage" not in answer.body


@each_wire
@pytest.mark.parametrize("usage", [None, {}, "free", []])
def test_a_missing_usage_is_none_and_not_zero(kind, usage):
    body = orjson.loads((SAMPLES / kind / "answer_text.json").read_bytes())
    body[{"google": "usageMetadata", "replicate": "metrics"}.get(kind, "usage")] = usage

    assert wire(kind).decode(orjson.dumps(body), new_state()).usage is None


@each_wire
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b"{}", b'"x"', b"{", b"NaN", b"\xff", b"[" * 5000]
)
def test_what_is_no_answer_is_a_bad_answer(kind, body):
    with pytest.raises(BadAnswer):
        wire(kind).decode(body, new_state())
    with pytest.raises(BadAnswer):
        wire(kind).decode_chunk("", body, new_state())


@pytest.mark.parametrize(("kind", "path"), samples("stream"))
def test_a_stream_cut_anywhere_fakes_no_finish(kind, path):
    events = orjson.loads(path.read_bytes())
    state, finished = new_state(), False

    for name, body in events:
        chunks = wire(kind).decode_chunk(name, as_sent(body), state)
        if any(chunk.done for chunk in chunks):
            finished = finished or any(chunk.finish_reason for chunk in chunks)
            assert finished
        finished = finished or any(chunk.finish_reason for chunk in chunks)


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("openai", b"[DONE]"),
        ("azure", b"[DONE]"),
        ("huggingface", b"[DONE]"),
        ("local", b"[DONE]"),
        ("anthropic", b'{"type":"message_stop"}'),
    ],
)
def test_a_stream_that_is_done_without_a_finish_reason_is_broken(kind, event):
    with pytest.raises(BrokenStream):
        wire(kind).decode_chunk("", event, new_state())


@pytest.mark.parametrize(
    ("kind", "model", "prefills"),
    [
        ("openai", "gpt-4.1", False),
        ("google", "gemini-3.8-flash", False),
        ("local", "smollm2-135m-instruct", True),
        ("anthropic", "claude-haiku-4-5", True),
        ("anthropic", "claude-opus-5-5", False),
    ],
)
def test_only_what_is_documented_goes_on_with_an_answer_begun_for_it(
    kind, model, prefills, endpoint
):
    assert wire(kind).prefills(endpoint(kind, model)) is prefills


def test_an_answer_begun_for_claude_is_its_last_message(call, chat):
    begun = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two"}]

    body = orjson.loads(call("anthropic", chat(messages=begun), wire_model="claude-haiku-4-5").body)

    assert body["messages"][-1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "One, two"}],
    }
