import orjson
import pytest

from benchmarks.contract import MARK_WIDTH, Shape, find_mark, mark, request_body

SHAPES = [Shape(), Shape(chunks=25, delay=0.02), Shape(chunks=999, delay=0.099)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_upstream_reads_from_the_request_how_to_answer(shape):
    before, after = request_body("auto", shape)

    body = before + mark(12, shape) + after

    assert find_mark(body) == (mark(12, shape), shape)
    assert orjson.loads(body).get("stream", False) is bool(shape.chunks)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mark_has_a_fixed_width(shape):
    assert len(mark(1, shape)) == len(mark(10**9, shape)) == MARK_WIDTH


def test_a_body_without_a_mark_asks_for_nothing():
    assert find_mark(b'{"model": "auto"}') is None
