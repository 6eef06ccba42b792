import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.located import compose
from compass_ray.types.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "f.yaml: the file is empty"),
        ("a: [1", "f.yaml:1: expected"),
        ("a: 1\na: 2", "f.yaml:2: 'a' is given twice"),
        ("a: 1\nb: 2\nx: 3", "f.yaml:3: x: unknown key; known are a, b"),
        ("a: 1", "f.yaml:1: 'b' is missing"),
        ("- a", "f.yaml:1: must be a mapping"),
        ("{[1]: 2}", "f.yaml:1: must be a single value"),
        ("a: \x00", "f.yaml: not YAML"),
        ("[" * 100_000, "f.yaml: not YAML"),
    ],
)
def test_a_mistake_in_the_keys_is_reported_with_its_line(text, place):
    with pytest.raises(ConfigError) as caught:
        compose(text, "f.yaml").mapping(required=("a", "b"))

    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        ("k: x", lambda value: value.number(0, 1), "must be a number, not 'x'"),
        ("k: 2", lambda value: value.number(0, 1), "must be from 0 to 1, not 2"),
        ("k: .nan", lambda value: value.number(0, 1), "must be a number, not '.nan'"),
        ("k: nan", lambda value: value.number(0, 1), "must be from 0 to 1, not nan"),
        ("k: 1.5", lambda value: value.integer(0, 9), "must be a whole number, not 1.5"),
        ("k: c", lambda value: value.choice({"a": 1, "b": 2}), "must be one of a, b, not 'c'"),
        ("k: {}", lambda value: value.text(), "must be a single value"),
        ("k: 1", lambda value: list(value.items()), "must be a list"),
    ],
)
def test_a_wrong_value_is_reported_with_its_line_and_key(text, read, message):
    value = compose(f"\n{text}", "f.yaml").mapping()["k"]

    with pytest.raises(ConfigError) as caught:
        read(value)

    assert str(caught.value) == f"f.yaml:2: k: {message}"


def test_scalars_are_read_as_they_are_written():
    items = compose("k: [no, null, 1, 0o7, 'x']", "f.yaml").mapping()["k"].items()

    assert [item.text() for item in items] == ["no", "null", "1", "0o7", "x"]


def test_a_place_deep_inside_has_a_dotted_key():
    outer = compose("a:\n  b:\n    - x\n    - y", "f.yaml").mapping()["a"].mapping()["b"]

    assert [(item.key, item.error("!").line) for item in outer.items()] == [
        ("a.b[0]", 3),
        ("a.b[1]", 4),
    ]


@given(st.text())
def test_any_text_is_a_document_or_a_config_error(text):
    with contextlib.suppress(ConfigError):
        compose(text, "f.yaml").mapping()
