from dataclasses import replace
from pathlib import Path

import httpx2
import orjson
import pytest
from huggingface_hub import ChatCompletionInput, InferenceClient
from huggingface_hub.utils import set_client_factory
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from compass_ray.providers.huggingface import FIELDS, HuggingFaceWire
from compass_ray.providers.openai import OpenAIWire
from compass_ray.types.errors import InvalidRequest, ProviderFault, RateLimited, Rejected

WIRE = HuggingFaceWire()
SAMPLES = Path(__file__).parent / "wire"
REQUESTS = orjson.loads((SAMPLES / "requests.json").read_bytes())
MODEL = "openai/gpt-oss-120b:groq"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}


def without_nulls(value):
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(item) for name, item in value.items() if item is not None}


@pytest.fixture
def send(chat, endpoint, target):
    """Return a function from fields to the body that is sent."""

    def send(capabilities=("reasoning",), limit=4096, **fields):
        to = endpoint("huggingface", MODEL, capabilities, limit)
        return orjson.loads(WIRE.encode(chat(**fields), to, target).body)

    return send


@pytest.fixture
def official():
    """Return a function that has Hugging Face's own client ask, and be given an answer."""
    seen = []

    def ask(body, answer):
        def respond(request):
            seen.append(request)
            return httpx2.Response(200, content=answer)

        transport = httpx2.MockTransport(respond)
        set_client_factory(lambda: httpx2.Client(transport=transport))
        client = InferenceClient(provider="auto", api_key="hf_x")
        effort = {"reasoning_effort": body.pop("reasoning_effort", None)}
        extra = {name: value for name, value in effort.items() if value is not None}
        told = client.chat.completions.create(**body, extra_body=extra or None)
        return list(told) if body.get("stream") else told

    ask.seen = seen
    yield ask
    set_client_factory(httpx2.Client)


def test_every_field_openai_has_is_decided_about():
    assert CompletionCreateParamsBase.__annotations__.keys() - FIELDS.keys() == set()


def test_what_is_sent_is_what_hugging_face_documents():
    sent = {name for name, handling in FIELDS.items() if handling == "translated"}
    sent |= {"max_tokens", "stream_options"}

    assert sent - {"reasoning_effort"} <= ChatCompletionInput.__dataclass_fields__.keys()


@pytest.mark.parametrize("name", [name for name in REQUESTS if name != "document"])
def test_the_call_is_the_one_that_the_official_client_makes(name, chat, endpoint, target, official):
    target = replace(target, base_url="https://router.huggingface.co/v1")
    call = WIRE.encode(chat(**REQUESTS[name]), endpoint("huggingface"), target)
    answer = b"data: [DONE]\n\n" if REQUESTS[name].get("stream") else b"{}"

    official(orjson.loads(call.body), answer)

    theirs = official.seen[-1]
    ours = {"stream": False, **orjson.loads(call.body)}
    assert httpx2.URL(call.url) == theirs.url
    assert without_nulls(ours) == orjson.loads(theirs.content)
    assert theirs.headers["authorization"].split()[0] == call.headers["authorization"].split()[0]


@pytest.mark.parametrize("name", ["text", "length", "tools", "reasoning"])
def test_an_answer_says_what_the_official_client_reads_in_it(name, state, official):
    raw = (SAMPLES / "huggingface" / f"answer_{name}.json").read_bytes()

    ours = WIRE.decode(raw, state()).body
    theirs = official({"messages": [], "model": MODEL}, raw)

    message, expected = ours["choices"][0]["message"], theirs.choices[0].message
    assert message["content"] == expected.content
    assert message.get("reasoning_content") == expected.reasoning
    assert [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", ())
    ] == [
        (call.id, call.function.name, call.function.arguments) for call in expected.tool_calls or ()
    ]
    assert ours["choices"][0]["finish_reason"] == theirs.choices[0].finish_reason
    assert ours["usage"]["completion_tokens"] == theirs.usage.completion_tokens


def test_the_limit_is_always_sent_as_max_tokens(send):
    for fields in ({}, {"max_completion_tokens": 9000}, {"max_tokens": 9000}):
        body = send(limit=77, **fields)

        assert {name: body[name] for name in body if name.startswith("max_")} == {"max_tokens": 77}


def test_a_developer_is_the_system_to_open_models(send):
    body = send(messages=[{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}])

    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_hints_that_the_router_has_no_use_for_are_left_out(send):
    asked = {"user": "u", "metadata": {"a": "b"}, "store": False, "n": 1, "logit_bias": {}}

    assert send(**asked) == send()
    assert send(stream=True, stream_options={"include_obfuscation": True})["stream_options"] == {
        "include_usage": True
    }


@pytest.mark.parametrize(
    ("capabilities", "effort", "sent"),
    [(("reasoning",), "low", "low"), (("reasoning",), "none", "none"), ((), "none", None)],
)
def test_effort_is_sent_to_models_that_reason(capabilities, effort, sent, send):
    assert send(capabilities, reasoning_effort=effort).get("reasoning_effort") == sent


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
    ],
)
def test_what_would_be_ignored_is_refused_by_name(fields, param, send):
    with pytest.raises(InvalidRequest) as refusal:
        send((), **fields)

    assert refusal.value.param == param


def test_an_allow_list_leaves_the_other_tools_out(send):
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}

    body = send(
        tools=[TOOL, OTHER], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
    )

    assert body["tools"] == [OTHER]
    assert body["tool_choice"] == "required"


def test_the_role_is_said_once_however_often_the_server_repeats_it(state):
    now = state()
    chunks = [
        orjson.dumps({"id": "", "choices": [{"delta": {"role": "assistant", "content": text}}]})
        for text in "ab"
    ]

    deltas = [
        chunk.body["choices"][0]["delta"]
        for data in chunks
        for chunk in OpenAIWire().decode_chunk("", data, now)
    ]

    assert deltas == [{"role": "assistant", "content": "a"}, {"content": "b"}]


@pytest.mark.parametrize(
    ("kind", "cls"),
    [("generation", ProviderFault), ("overloaded", RateLimited), ("validation", Rejected)],
)
def test_an_error_of_tgi_in_a_stream_has_the_blame_of_its_type(kind, cls, state):
    data = orjson.dumps({"error": "x", "error_type": kind})

    with pytest.raises(cls):
        WIRE.decode_chunk("", data, state())
