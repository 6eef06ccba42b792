import random

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.simulator.text import lorem, sample
from compass_ray.simulator.tokens import count

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS = [
    {"type": "object"},
    {"type": ["null", "integer"]},
    {"enum": ["a", 1, None]},
    {"const": {"a": 1}},
    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    {"type": "integer", "minimum": 100, "maximum": 101},
    {"type": "integer", "exclusiveMinimum": -5, "exclusiveMaximum": -3},
    {"type": "integer", "multipleOf": 5, "minimum": 12},
    {"type": "number", "maximum": 0},
    {"type": "string", "minLength": 20, "maxLength": 21},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date-time"},
    {"type": "array", "items": {"type": "number"}, "minItems": 3},
    {"type": "array", "maxItems": 0},
    {"properties": {"a": {"items": {"type": "boolean"}}}, "required": ["a"]},
    TREE,
]


@given(st.integers(), st.integers(0, 500))
def test_lorem_has_exactly_the_tokens_asked_for(seed, tokens):
    assert count(lorem(random.Random(seed), tokens)) == tokens


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_sample_is_valid_for_its_schema(schema):
    for seed in range(5):
        jsonschema.validate(sample(schema, random.Random(seed)), schema)


def test_google_writes_types_in_capitals():
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}}

    assert type(sample(schema, random.Random(1))["n"]) is int
