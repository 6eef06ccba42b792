import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.checkable import uncheckable
from compass_ray.policy.wellformed import flaw_by_schema

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"items": {"$ref": "#/$defs/it"}}},
}
WORDS = ["anyOf", "allOf", "not", "if", "items", "properties", "$defs"]


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"it": TREE}, "$ref": "#/$defs/it"},
        {"$defs": {"a/b": {"type": "string"}}, "$ref": "#/$defs/a~1b"},
        {"properties": {"next": {"$ref": "#"}}},
        {"anyOf": [{"type": "null"}, {"$ref": "#/anyOf/0"}]},
        {"properties": {"dependencies": {"enum": ["$id", "pattern"]}}, "required": ["pattern"]},
        {"enum": list(range(5_000))},
    ],
)
def test_what_can_be_checked_may_be_asked_for(schema):
    assert uncheckable(schema) is None


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "#"}, "in a circle"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
          "$ref": "#/$defs/a"}, "in a circle"),
        ({"if": {"$ref": "#"}}, "in a circle"),
        ({"$ref": "#/$defs/nope"}, "which is not in it"),
        ({"items": {"$ref": "https://example.com/s"}}, "which is not in it"),
        ({"$ref": 7}, "which is not in it"),
        ({"$ref": "#/enum/7", "enum": [1]}, "which is not in it"),
        ({"dependencies": {"card": ["cvc"]}}, "has dependencies"),
        ({"$recursiveRef": "#"}, "has $recursiveRef"),
        ({"items": {"$anchor": "a"}}, "has $anchor"),
        ({"items": {"$id": "https://example.com/s"}}, "has $id"),
        ({"patternProperties": {}}, "has patternProperties"),
        ({"type": "objekt"}, "is no JSON schema"),
        (nested(300), "too deep"),
        ({"anyOf": [{}] * 401}, "more than 400 parts"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused_with_what_is_in_the_way(schema, why):
    assert why in uncheckable(schema)


@given(
    st.recursive(
        st.just({}) | st.builds(lambda to: {"$ref": f"#/{to}"}, st.sampled_from(WORDS)),
        lambda inner: st.dictionaries(
            st.sampled_from(WORDS), inner | st.lists(inner, max_size=3), max_size=3
        ),
        max_leaves=12,
    ),
    st.sampled_from(['{"a": 1}', "[1, [2]]", "null"]),
)
def test_whatever_is_let_pass_can_be_checked(schema, text):
    if uncheckable(schema) is None:
        assert flaw_by_schema(text, schema) != "cannot be checked against its schema"
