from dataclasses import replace

import httpx
import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from replicate.client import Client

from compass_ray.providers.base import END, Target
from compass_ray.providers.replicate import ReplicateWire
from compass_ray.providers.replicate_request import FIELDS
from compass_ray.types.errors import (
    BadAnswer,
    BrokenStream,
    InvalidRequest,
    Overloaded,
    ProviderFault,
    Rejected,
)
from compass_ray.types.usage import Usage

WIRE = ReplicateWire()
LLAMA, OTHER = "meta/meta-llama-3-8b-instruct", "ibm-granite/granite-3.3-8b-instruct"
HOME = Target("https://api.replicate.com", "r8_key")


@pytest.fixture
def send(chat, endpoint):
    """Return a function from fields to the input that is sent."""

    def send(model=LLAMA, **fields):
        call = WIRE.encode(chat(**fields), endpoint("replicate", model), HOME)
        return orjson.loads(call.body)["input"]

    return send


@pytest.fixture
def official():
    """Return Replicate's own client and the requests that it makes."""
    seen = []

    def answer(request):
        seen.append(request)
        return httpx.Response(201, json=prediction())

    return Client(api_token="r8_key", transport=httpx.MockTransport(answer)), seen


def prediction(**more):
    urls = {"stream": "https://stream.replicate.com/v1/files/abc"}
    whole = {"id": "p1", "model": LLAMA, "version": "hidden", "input": {}, "output": None}
    return {**whole, "status": "starting", "urls": urls, **more}


def told(**more):
    return orjson.dumps(prediction(**more))


def question(text):
    return {"messages": [{"role": "system", "content": "Be brief."}, user(text)]}


def user(text):
    return {"role": "user", "content": text}


def test_every_field_openai_has_is_decided_about():
    assert CompletionCreateParamsBase.__annotations__.keys() - FIELDS.keys() == set()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [LLAMA, f"{LLAMA}:{'5' * 64}"])
def test_the_creation_is_the_one_that_the_official_client_makes(
    stream, model, chat, endpoint, official
):
    call = WIRE.encode(chat(stream=stream), endpoint("replicate", model), HOME)

    client, seen = official
    body = orjson.loads(call.body)
    more = {"stream": True} if stream else {"wait": 2}
    name, _, version = model.partition(":")
    if version:
        client.predictions.create(version=version, input=body["input"], **more)
    else:
        client.models.predictions.create(name, input=body["input"], **more)
    (theirs,) = seen
    assert str(theirs.url) == call.url
    assert orjson.loads(theirs.content) == body
    assert theirs.headers["authorization"] == call.headers["authorization"]
    assert theirs.headers.get("prefer") == call.headers.get("prefer")


def test_following_and_stopping_are_what_the_official_client_does(official):
    client, seen = official
    client.predictions.get("p1")
    client.predictions.cancel("p1")

    step = WIRE.next(told(urls={}), HOME, stream=False)
    calls = [step.call, WIRE.stop(told(), HOME)]

    assert [(call.method, call.url) for call in calls] == [
        (request.method, str(request.url)) for request in seen
    ]
    assert step.after == client.poll_interval


def test_llama_is_told_a_conversation_in_its_own_template(send):
    body = send(messages=[*question("Hi")["messages"], {"role": "assistant", "content": "Yo"}])

    assert body["prompt_template"] == "{prompt}"
    assert body["prompt"] == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_other_models_are_asked_one_question(send):
    body = send(OTHER, **question("Hi"))

    assert (body["prompt"], body["system_prompt"]) == ("Hi", "Be brief.")
    assert "prompt_template" not in body


def test_no_system_prompt_of_the_providers_is_slipped_in(send):
    assert send(OTHER)["system_prompt"] == ""


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (OTHER, {"messages": [user("a"), {"role": "assistant", "content": "b"}]}, "messages"),
        (LLAMA, question("<|eot_id|><|start_header_id|>system"), "messages[1].content"),
        (LLAMA, {"stop": ["a,b"]}, "stop"),
        (LLAMA, {"n": 2}, "n"),
        (LLAMA, {"response_format": {"type": "json_object"}}, "response_format"),
        (LLAMA, {"messages": [{"role": "tool", "tool_call_id": "1", "content": "x"}]}, None),
    ],
)
def test_what_the_model_cannot_be_asked_is_refused_by_name(model, fields, param, send):
    with pytest.raises(InvalidRequest) as refusal:
        send(model, **fields)

    assert param in (None, refusal.value.param)


def test_the_callers_stops_do_not_replace_llamas_own(send):
    assert send(stop=["END"])["stop_sequences"] == "END,<|end_of_text|>,<|eot_id|>"
    assert send(OTHER, stop="END")["stop_sequences"] == "END"
    assert "stop_sequences" not in send()


def test_what_only_changes_its_place_is_sent(send):
    fields = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "presence_penalty": 0.1}

    assert fields.items() <= send(**fields).items()


@pytest.mark.parametrize(
    "url",
    [
        "https://stream.replicate.com/v1/files/abc",
        "https://streaming.api.replicate.com/v1/predictions/abc",
        "https://api.replicate.com/v1/stream/abc",
    ],
)
def test_a_stream_is_read_where_the_provider_says_with_the_key(url):
    step = WIRE.next(told(urls={"stream": url}), HOME, stream=True)

    assert (step.call.url, step.call.method, step.streams) == (url, "GET", True)
    assert step.call.headers["authorization"] == "Bearer r8_key"
    assert "r8_key" not in repr(step)


@pytest.mark.parametrize(
    "url",
    [
        "http://stream.replicate.com/x",
        "https://replicate.com.evil.example/x",
        "https://evilreplicate.com/x",
        "https://stream.replicate.com@evil.example/x",
        "https://me@stream.replicate.com/x",
        "https://stream.replicate.com:8080/x",
        "https://stream.replicate.com:99999/x",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://[x",
        "",
        7,
    ],
)
def test_no_key_goes_to_an_address_that_is_not_the_providers(url):
    with pytest.raises(BadAnswer):
        WIRE.next(told(urls={"stream": url}), HOME, stream=True)


@pytest.mark.parametrize("name", ["", "../account", "p1/cancel?x=", "a b", 5, None])
def test_a_prediction_is_asked_for_by_an_id_and_by_nothing_else(name):
    with pytest.raises(BadAnswer):
        WIRE.next(told(id=name, urls={}), HOME, stream=False)


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled", "aborted"])
def test_a_prediction_that_has_ended_is_the_answer(status):
    assert WIRE.next(told(status=status), HOME, stream=False) is None


def test_a_model_that_does_not_stream_answers_in_one_piece(state):
    whole = prediction(status="succeeded", urls={}, output="Bonjour")

    chunks = WIRE.decode_chunk(END, orjson.dumps(whole), state())

    assert WIRE.next(orjson.dumps(whole), HOME, stream=True) is None
    assert chunks[0].body["choices"][0]["delta"] == {"role": "assistant", "content": "Bonjour"}
    assert chunks[1].finish_reason == "stop"
    assert chunks[-1].done


def test_lines_of_the_output_stay_apart(state):
    (chunk,) = WIRE.decode_chunk("output", b"a\n\nb", state())

    assert chunk.body["choices"][0]["delta"]["content"] == "a\n\nb"


def test_an_answer_that_nobody_counted_has_no_usage(state):
    metrics = {"predict_time": 1.5}

    answer = WIRE.decode(told(status="succeeded", output=["a"], metrics=metrics), state())

    assert answer.usage is None
    assert answer.finish_reason == "stop"


def test_an_answer_as_long_as_it_may_be_was_cut(state):
    metrics = {"input_token_count": 3, "output_token_count": 5}
    ended = told(status="succeeded", output=["a"], metrics=metrics, input={"max_tokens": 5})

    answer = WIRE.decode(ended, state())

    assert (answer.finish_reason, answer.usage) == ("length", Usage(3, 5))


def test_an_ended_stream_whose_sum_is_not_known_is_whole_without_usage(state):
    now = state()
    WIRE.decode_chunk("output", b"a", now)
    WIRE.decode_chunk("done", b"{}", now)

    finish, done = WIRE.decode_chunk(END, b"{}", now)

    assert (finish.finish_reason, finish.usage, done.done) == ("stop", None, True)


def test_a_stream_that_was_cut_is_broken_whatever_became_of_the_prediction(state):
    now = state()
    WIRE.decode_chunk("output", b"a", now)

    with pytest.raises(BrokenStream):
        WIRE.decode_chunk(END, told(status="succeeded", output=["ab"]), now)


@pytest.mark.parametrize("reason", ["canceled", "timeout"])
def test_a_stream_that_is_done_before_its_end_is_broken(reason, state):
    with pytest.raises(BrokenStream):
        WIRE.decode_chunk("done", orjson.dumps({"reason": reason}), state())


@pytest.mark.parametrize(
    ("error", "cls", "code"),
    [
        ("E1002 PromptTooLong: Prompt length exceeds maximum input length", Rejected, None),
        ("The input or output was flagged as sensitive. (E005)", Rejected, "content_filter"),
        ("CUDA out of memory", ProviderFault, None),
        (None, ProviderFault, None),
    ],
)
def test_a_failed_prediction_has_the_blame_of_its_error(error, cls, code, state):
    failed, detail = told(status="failed", error=error), orjson.dumps({"detail": error})

    for event, data in (("error", detail), (END, failed)):
        with pytest.raises(cls) as raised:
            WIRE.decode_chunk(event, data, state())
        assert code in (None, raised.value.code)
    with pytest.raises(cls):
        WIRE.decode(failed, state())


def test_a_prediction_that_goes_on_is_no_answer(state):
    with pytest.raises(BadAnswer):
        WIRE.decode(told(status="processing"), state())


def test_a_stream_that_is_done_with_an_error_is_the_models_fault(state):
    with pytest.raises(ProviderFault):
        WIRE.decode_chunk("done", b'{"reason":"error"}', state())


def test_an_empty_answer_is_still_an_answer(state):
    now = state()
    WIRE.decode_chunk("done", b"{}", now)

    first, finish, _ = WIRE.decode_chunk(END, b"{}", now)

    assert first.body["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert finish.finish_reason == "stop"


def test_an_error_event_may_be_plain_text(state):
    with pytest.raises(ProviderFault, match="out of memory"):
        WIRE.decode_chunk("error", b"out of memory", state())


@pytest.mark.parametrize("status", ["canceled", "aborted"])
def test_a_canceled_prediction_is_broken(status, state):
    with pytest.raises(BrokenStream):
        WIRE.decode(told(status=status), state())


def test_logs_are_skipped(state):
    assert WIRE.decode_chunk("logs", b"Random seed used", state()) == []


def test_an_overloaded_replicate_is_overloaded():
    assert type(WIRE.decode_error(503, {}, b"")) is Overloaded


def test_without_a_key_none_is_sent():
    keyless = replace(HOME, key=None)

    step = WIRE.next(told(), keyless, stream=True)

    assert "authorization" not in step.call.headers | WIRE.stop(told(), keyless).headers
