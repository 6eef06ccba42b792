import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.types.errors import BodyTooLarge, InvalidRequest
from compass_ray.types.routing import Tier

LIMITS = Limits(body_bytes=100_000, messages=3, tools=2, choices=4, output_tokens=1000)
HELLO = [{"role": "user", "content": "hello"}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def body(**fields):
    return {"model": "auto", "messages": HELLO} | fields


def read(**fields):
    return parse(json.dumps(body(**fields)).encode(), LIMITS)


def test_a_plain_request_is_read():
    request = read(stream=True, stream_options={"include_usage": True}, max_tokens=5, n=2)

    assert request.model == "auto"
    assert request.text == request.last_user_text == "hello"
    assert request.stream
    assert request.include_usage
    assert request.max_output_tokens == 5
    assert request.n == 2
    assert request.needs == frozenset()


def test_the_newer_name_of_the_output_limit_wins():
    assert read(max_tokens=5, max_completion_tokens=7).max_output_tokens == 7


def test_fields_without_an_opinion_pass():
    assert read(prediction={"type": "content"}).body["prediction"] == {"type": "content"}


def test_null_counts_as_absent():
    assert read(max_tokens=None, n=None, tools=None, stream=None).n == 1


@pytest.mark.parametrize(
    ("fields", "need"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}}, "json_schema"),
        ({"reasoning_effort": "high"}, "reasoning"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "what is it?"},
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}},
                        ],
                    }
                ]
            },
            "vision",
        ),
    ],
)
def test_needs_are_seen(fields, need):
    assert read(**fields).needs == {need}


def test_an_image_is_not_counted_as_text():
    url = "data:image/png;base64," + "A" * 50_000
    part = {"type": "image_url", "image_url": {"url": url}}

    request = read(messages=[{"role": "user", "content": [part]}])

    assert request.images == 1
    assert request.input_bytes < 1000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"model": "x" * 300}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": HELLO * 4}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": 1}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]},
            "messages[0].tool_calls[0]",
        ),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": True}, "max_completion_tokens"),
        ({"n": 10_000}, "n"),
        ({"n": -1}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stop": 5}, "stop"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 3}, "tools"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"compass": []}, "compass"),
        ({"compass": {"tire": 1}}, "compass.tire"),
        ({"compass": {"tier": 5}}, "compass.tier"),
        ({"compass": {"max_cost_usd": -1}}, "compass.max_cost_usd"),
        ({"compass": {"max_cost_usd": "lots"}}, "compass.max_cost_usd"),
        ({"compass": {"urgency": "soon"}}, "compass.urgency"),
        ({"compass": {"budget_used": 1.1}}, "compass.budget_used"),
        ({"compass": {"budget_used": True}}, "compass.budget_used"),
        ({"compass": {"providers": ["a", 1]}}, "compass.providers"),
        ({"compass": {"on_break": "retry"}}, "compass.on_break"),
        ({"compass": {"timeout_s": 0}}, "compass.timeout_s"),
        ({"compass": {"timeout_s": True}}, "compass.timeout_s"),
        ({"compass": {"timeout_s": "soon"}}, "compass.timeout_s"),
        ({"compass": {"timeout_s": 1e9}}, "compass.timeout_s"),
        ({"compass": {"fallbacks": "m"}}, "compass.fallbacks"),
        ({"compass": {"fallbacks": [""]}}, "compass.fallbacks"),
        ({"compass": {"fallbacks": ["m"] * 17}}, "compass.fallbacks"),
        ({"compass": {"on_break": ["error"]}}, "compass.on_break"),
    ],
)
def test_a_refusal_names_the_field(fields, param):
    with pytest.raises(InvalidRequest) as refusal:
        read(**fields)

    assert refusal.value.param == param
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"model": NaN}', b'"\xed\xa0\x80"', b"[" * 100_000],
)
def test_what_is_not_a_json_object_is_refused(raw):
    with pytest.raises(InvalidRequest) as refusal:
        parse(raw, LIMITS)

    assert refusal.value.code == "invalid_json"


def test_a_body_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(BodyTooLarge):
        parse(b"{" * 100_001, LIMITS)


@pytest.mark.parametrize(
    ("hidden", "where"),
    [
        ({"a\0": 1}, "metadata.'a\\x00'"),
        ({"a": [1, {"b": "\0"}]}, "metadata.a[1].b"),
        ({"a": [[], {}, "x", "\0"]}, "metadata.a[3]"),
    ],
)
def test_a_nul_is_found_wherever_it_hides(hidden, where):
    with pytest.raises(InvalidRequest) as refusal:
        read(metadata=hidden)

    assert refusal.value.param == where


def test_a_nul_is_found_below_more_levels_than_the_interpreter_s_stack_has():
    raw = b'{"metadata": ' + b"[" * 1_000 + b'"\\u0000"' + b"]" * 1_000 + b"}"

    with pytest.raises(InvalidRequest, match="NUL"):
        parse(raw, Limits())


def test_an_escaped_backslash_is_not_a_nul():
    assert read(messages=[{"role": "user", "content": "\\u0000"}]).text == "\\u0000"


def test_preferences_are_read():
    wish = {"tier": "fast", "max_cost_usd": "0.0000015", "urgency": "batch", "providers": ["x"]}

    preferences = read(compass=wish).preferences

    assert preferences.tier is Tier.FAST
    assert preferences.max_cost == 1
    assert preferences.urgency == "batch"
    assert preferences.providers == {"x"}


def test_preferences_may_come_in_headers_and_those_of_the_body_count_more():
    headers = {
        "x-compass-max-cost-usd": "0.01",
        "x-compass-on-break": "restart",
        "x-compass-timeout": "2.5",
        "x-compass-x": "not a request's",
    }
    raw = json.dumps(body(compass={"on_break": "continue"})).encode()

    preferences = parse(raw, LIMITS, headers).preferences

    assert preferences.on_break == "continue"
    assert preferences.max_cost == 10_000
    assert preferences.timeout == 2.5


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-compass-on-break", "Restart"),
        ("x-compass-max-cost-usd", "-1"),
        ("x-compass-timeout", "nan"),
        ("x-compass-timeout", "1 s"),
    ],
)
def test_a_refusal_names_the_header(header, value):
    with pytest.raises(InvalidRequest, match=header) as refusal:
        parse(json.dumps(body()).encode(), LIMITS, {header: value})

    assert refusal.value.param == header


@given(st.dictionaries(st.sampled_from(sorted(body(tools=0, n=0, stop=0, compass=0))), JSON))
def test_any_json_is_read_or_refused(fields):
    try:
        request = read(**fields)
    except InvalidRequest:
        return

    assert request.body["model"] == request.model


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    with pytest.raises(InvalidRequest):
        parse(raw, LIMITS)
