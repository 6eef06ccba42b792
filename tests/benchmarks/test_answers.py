import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.answers import StreamReader, WrongAnswer, check_answer
from benchmarks.contract import ANSWER_TOKENS, answer_text, usage

MARK = "bench-0000000007-003-00000"
ANSWER = answer_text(MARK)
STAMPS = [1_000, 2_000, 3_000]


def an_answer(content=ANSWER, finish_reason="stop", tokens=ANSWER_TOKENS):
    choice = {"message": {"content": content}, "finish_reason": finish_reason}
    return orjson.dumps({"choices": [choice], "usage": usage(tokens)})


def an_event(content=None, finish_reason=None):
    delta = {} if content is None else {"content": content}
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def a_stream(mark=MARK, stamps=STAMPS, tokens=3, last=b"data: [DONE]\n\n"):
    chunks = [an_event(f"{mark} {index} {stamp} ") for index, stamp in enumerate(stamps)]
    count = b"data: " + orjson.dumps({"choices": [], "usage": usage(tokens)}) + b"\n\n"
    return b"".join([an_event(""), *chunks, an_event(finish_reason="stop"), count, last])


def read(stream):
    reader = StreamReader(MARK, 3)
    stamps = reader.feed(stream)
    reader.end()
    return stamps


def test_the_answer_of_the_upstream_is_right():
    check_answer(an_answer(), MARK)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not an object"),
        (b'{"error": {}}', "not a completion"),
        (an_answer(content=answer_text("bench-0000000008-000-00000")), "content"),
        (an_answer(content=ANSWER[:-1]), "content"),
        (an_answer(finish_reason="length"), "finish reason"),
        (an_answer(tokens=ANSWER_TOKENS - 1), "completion_tokens"),
        (an_answer().replace(b'"usage"', b'"used"'), "no usage"),
    ],
)
def test_any_other_answer_is_wrong(body, why):
    with pytest.raises(WrongAnswer, match=why):
        check_answer(body, MARK)


@given(st.sets(st.integers(1, len(a_stream()) - 1)))
def test_a_stream_reads_the_same_however_it_is_cut(cuts):
    stream = a_stream()
    edges = [0, *sorted(cuts), len(stream)]
    reader = StreamReader(MARK, 3)

    stamps = [
        stamp
        for begin, end in itertools.pairwise(edges)
        for stamp in reader.feed(stream[begin:end])
    ]

    reader.end()
    assert stamps == STAMPS


def test_comments_between_events_are_no_chunks():
    assert read(b": keep-alive\n\n" + a_stream()) == STAMPS


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (a_stream(stamps=STAMPS[:2]), "number of chunks"),
        (a_stream(mark="bench-0000000008-003-00000"), "mark"),
        (a_stream(tokens=4), "completion_tokens"),
        (a_stream(last=b""), "terminal event"),
        (an_event(f"{MARK} 1 1000 "), "index of the chunk"),
        (an_event("something else"), "not a chunk of the upstream"),
        (a_stream().replace(b'"stop"', b"null"), "finish reason"),
        (b"data: {\n\n", "not JSON"),
    ],
)
def test_a_stream_that_is_changed_or_cut_short_is_wrong(stream, why):
    with pytest.raises(WrongAnswer, match=why):
        read(stream)
