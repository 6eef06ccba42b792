import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.wellformed import UNCHECKED, flaw_by_schema, flaw_of_calls, flaw_of_text

OBJECT = {"type": "json_object"}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


def by_schema(schema):
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}


def weather(arguments, name="weather"):
    return [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}]


TOOLS = {"tools": [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]}


@pytest.mark.parametrize(
    ("text", "response_format", "flaw"),
    [
        ("anything", None, None),
        ("anything", {"type": "text"}, None),
        ("{}", OBJECT, None),
        ("```json\n{}\n```", OBJECT, "is not JSON"),
        ('{"a": 1', OBJECT, "is not JSON"),
        ("[]", OBJECT, "is JSON, and no object"),
        ('{"city": "Rome"}', by_schema(CITY), None),
        ("{}", by_schema(CITY), "breaks its schema (required)"),
        ('{"city": 1}', by_schema(CITY), "breaks its schema (type of city)"),
        ('{"city": "R", "x": 1}', by_schema(CITY), "breaks its schema (additionalProperties)"),
        ('{"city": "R", "days": 0}', by_schema(CITY), "breaks its schema (minimum of days)"),
        ("1", {"type": "json_schema", "json_schema": {"name": "n"}}, None),
    ],
)
def test_a_text_is_measured_by_the_format_asked_for(text, response_format, flaw):
    assert flaw_of_text(text, response_format) == flaw


@pytest.mark.parametrize(
    ("calls", "extra", "flaw"),
    [
        (weather('{"city": "Rome"}'), {}, None),
        (weather('{"city"'), {}, "the arguments of 'weather' are not JSON"),
        (
            weather('{"city": 1}'),
            {},
            "the arguments of 'weather': breaks its schema (type of city)",
        ),
        (weather("", "sing"), {}, "calls a tool that is not there: 'sing'"),
        ([], {}, None),
        ([], {"tool_choice": "auto"}, None),
        ([], {"tool_choice": "required"}, "calls no tool, though it has to"),
        (
            [],
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            "calls no tool, though it has to",
        ),
    ],
)
def test_calls_are_measured_by_the_tools_there_are(calls, extra, flaw):
    assert flaw_of_calls(calls, TOOLS | extra) == flaw


def test_a_function_without_parameters_takes_none():
    body = {"functions": [{"name": "weather"}]}

    assert flaw_of_calls(weather(""), body) is None


_MANY = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$defs": _MANY, "$ref": "#/$defs/a0"},
        {"items": {"pattern": "(a+)+$"}},
        {"patternProperties": {"(a+)+$": False}, "additionalProperties": False},
        {"type": "no such type"},
        {"type": 7, "required": 3},
    ],
)
def test_a_schema_with_a_trap_condemns_nobody_and_takes_no_time(schema):
    began = time.perf_counter()

    for text in ('{"' + "a" * 60 + '!": 1}', '["' + "a" * 60 + '!"]'):
        assert flaw_of_text(text, by_schema(schema)) is None

    assert time.perf_counter() - began < 2


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)


@given(st.text() | st.just('{"a": [1]}'), _JSON)
def test_any_text_and_any_schema_have_a_verdict(text, schema):
    flaw = flaw_of_text(text, by_schema(schema))

    assert flaw is None or flaw


@given(st.lists(_JSON, max_size=3), _JSON, _JSON)
def test_any_calls_have_a_verdict(calls, parameters, choice):
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}

    flaw_of_calls(calls, {"tools": [tool], "tool_choice": choice})


def test_long_lists_of_values_count_by_their_length():
    values = [f"value {number}" for number in range(3_000)]
    schema = {"items": {"enum": values}}

    assert flaw_by_schema(orjson.dumps(values[-1:] * 100).decode(), schema) is None
    assert flaw_by_schema(orjson.dumps(values[-1:] * 1_000).decode(), schema) in UNCHECKED
