"""Whatever JSON a provider sends, a wire gives a well-formed answer or one of our errors."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.providers.base import StreamState, Target
from compass_ray.providers.registry import KINDS, wire
from compass_ray.types.errors import CompassError
from compass_ray.types.routing import Endpoint, Tier

SAMPLES = Path(__file__).parent / "wire"


def new_state():
    return StreamState("chatcmpl-req1", 1_763_900_000, "the-model")


NAMES = """
    error type message usage choices index delta content finish_reason tool_calls function
    arguments id candidates parts text functionCall args name promptFeedback blockReason
    usageMetadata promptTokenCount stop_reason content_block content_block_delta code details
    violations quotaId retryDelay logprobsResult chosenCandidates status object error_type
    estimated_time reasoning
"""
EVENTS = """
    message_start message_delta message_stop message error content_block_start
    content_block_delta content_block_stop text_delta input_json_delta thinking_delta
"""
names = st.sampled_from(NAMES.split())
kinds_of_event = st.sampled_from(EVENTS.split())
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | names
    | st.text(max_size=5)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=5) | st.builds(
    lambda kind, rest: {**rest, "type": kind}, kinds_of_event, st.dictionaries(names, values)
)


@pytest.mark.parametrize("kind", KINDS)
@given(value=values | objects, status=st.integers(100, 599))
def test_no_json_value_raises_anything_but_our_errors(kind, value, status):
    data, state = orjson.dumps(value), new_state()

    assert isinstance(wire(kind).decode_error(status, {}, data), CompassError)
    try:
        answer = wire(kind).decode(data, new_state())
    except CompassError:
        pass
    else:
        ChatCompletion.model_validate(vouched(answer.body), strict=True)
    for _ in range(2):
        try:
            chunks = wire(kind).decode_chunk("", data, state)
        except CompassError:
            continue
        for chunk in chunks:
            if chunk.body is not None:
                ChatCompletionChunk.model_validate(vouched(chunk.body), strict=True)


def spoil(draw, value):
    """Put any JSON value at any place in `value`."""
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not place[key] or not isinstance(place[key], dict | list) or draw(st.booleans()):
            place[key] = draw(values)
            return value
        place = place[key]


@st.composite
def spoiled_samples(draw):
    path = draw(st.sampled_from(sorted(SAMPLES.glob("*/[as]*_*.json"))))
    value = orjson.loads(path.read_bytes())
    event = ""
    if isinstance(value, list):
        told = [(name, body) for name, body in value if isinstance(body, dict) and body]
        event, value = draw(st.sampled_from(told))
    return path, event, spoil(draw, value)


@st.composite
def spoiled_requests(draw):
    requests = orjson.loads((SAMPLES / "requests.json").read_bytes())
    return spoil(draw, requests[draw(st.sampled_from(sorted(requests)))])


@pytest.mark.parametrize("kind", KINDS)
@given(body=spoiled_requests())
def test_a_spoiled_request_is_either_written_or_refused(kind, body):
    to = Endpoint("p", "m", "m-1", Tier.FAST, 9000, 4096, frozenset({"reasoning"}))

    try:
        call = wire(kind).encode(parse(orjson.dumps(body), Limits()), to, Target("http://x", "k"))
    except CompassError:
        return

    assert isinstance(orjson.loads(call.body), dict)


def vouched(body):
    """Return the part of an answer that a wire answers for; OpenAI's extras pass unread."""
    out = {name: body[name] for name in ("id", "object", "created", "model")}
    kind = "message" if body["object"] == "chat.completion" else "delta"
    out["choices"] = [
        {
            "index": choice["index"],
            "finish_reason": choice.get("finish_reason"),
            kind: {
                name: choice[kind][name]
                for name in ("role", "content", "refusal", "reasoning_content")
                if name in choice[kind]
            },
        }
        for choice in body["choices"]
    ]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    if body.get("usage") is not None:
        out["usage"] = {name: body["usage"][name] for name in names}
    return out


@given(spoiled_samples())
def test_a_spoiled_answer_is_either_well_formed_or_one_of_our_errors(spoiled):
    path, event, value = spoiled
    codec, data, state = wire(path.parent.name), orjson.dumps(value), new_state()

    try:
        if path.stem.startswith("answer"):
            answer = codec.decode(data, state)
            ChatCompletion.model_validate(vouched(answer.body), strict=True)
            assert answer.usage is None or answer.usage.is_credible()
        else:
            for chunk in codec.decode_chunk(event, data, state):
                if chunk.body is not None:
                    ChatCompletionChunk.model_validate(vouched(chunk.body), strict=True)
                assert chunk.usage is None or chunk.usage.is_credible()
    except CompassError:
        pass
