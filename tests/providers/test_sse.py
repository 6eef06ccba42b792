from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.providers.sse import EventReader
from compass_ray.types.errors import BadAnswer

STREAM = (
    'event: a\ndata: {"x":"é"}\n\n: ping\n\ndata: 1\r\ndata: 2\r\n\r\nid: 7\ndata:[DONE]\n\n'
).encode()
EVENTS = [("a", '{"x":"é"}'.encode()), ("", b"1\n2"), ("", b"[DONE]")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_the_same_wherever_the_body_is_cut(cuts):
    reader = EventReader()
    edges = [0, *sorted(cuts), len(STREAM)]

    events = [event for start, end in pairwise(edges) for event in reader.feed(STREAM[start:end])]

    assert events == EVENTS


def test_an_unfinished_event_is_not_delivered():
    assert EventReader().feed(b"data: 1\n") == []


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 100, b"data: xxxxxxxxx\n" * 12])
def test_an_endless_event_is_refused(piece):
    with pytest.raises(BadAnswer):
        EventReader(max_event_bytes=99).feed(piece)
