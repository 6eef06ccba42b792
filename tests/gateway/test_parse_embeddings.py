"""Every refusal of an embeddings body names its field."""

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse_embeddings import parse_embeddings
from compass_ray.types.errors import BodyTooLarge, CompassError, InvalidRequest

LIMITS = Limits(inputs=3)


def parsed(**fields):
    return parse_embeddings(orjson.dumps({"model": "e", "input": "hello"} | fields), LIMITS)


@pytest.mark.parametrize(
    ("said", "inputs", "size"),
    [
        ("hello", ("hello",), 5),
        ("hé", ("hé",), 3),
        (["a", "bc"], ["a", "bc"], 3),
        ([1, 2, 3], ([1, 2, 3],), 3),
        ([[1, 2], [3]], [[1, 2], [3]], 3),
    ],
)
def test_every_way_of_saying_inputs_is_understood(said, inputs, size):
    request = parsed(input=said)

    assert (request.inputs, request.input_bytes) == (inputs, size)
    assert request.windows == len(inputs)


def test_what_is_wished_is_read():
    request = parsed(dimensions=256, encoding_format="base64", user="u")

    assert (request.model, request.dimensions, request.encoding) == ("e", 256, "base64")
    assert parsed().dimensions is None
    assert parsed().encoding == "float"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["a", "b", "c", "d"]}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": ["a", ["b"]]}, "input[1]"),
        ({"input": [["b"], "a"]}, "input[0]"),
        ({"input": [True, False]}, "input[0]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [1, -1]}, "input"),
        ({"input": [1, 2**31]}, "input"),
        ({"input": [[1.0]]}, "input[0]"),
        ({"input": [None]}, "input[0]"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "256"}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"dimensions": 10**9}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": []}, "encoding_format"),
        ({"user": 7}, "user"),
        ({"compass": {"nonsense": 1}}, "compass.nonsense"),
    ],
)
def test_a_wrong_field_is_named(fields, param):
    with pytest.raises(InvalidRequest) as refusal:
        parsed(**fields)

    assert refusal.value.param == param
    assert param.partition("[")[0] in refusal.value.message


def test_a_body_that_is_too_large_is_refused_unread():
    with pytest.raises(BodyTooLarge):
        parse_embeddings(b"{" * 100, Limits(body_bytes=10))


@given(st.binary(max_size=60) | st.text().map(lambda text: orjson.dumps({"input": text})))
def test_any_body_is_a_request_or_a_refusal(raw):
    with contextlib.suppress(CompassError):
        assert parse_embeddings(raw, LIMITS).inputs


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(_JSON, _JSON, _JSON)
def test_any_values_make_a_request_or_a_refusal(said, dimensions, encoding):
    body = {"model": "e", "input": said, "dimensions": dimensions, "encoding_format": encoding}

    with contextlib.suppress(InvalidRequest):
        request = parse_embeddings(orjson.dumps(body), LIMITS)

        assert request.inputs
        assert request.input_bytes >= request.windows
