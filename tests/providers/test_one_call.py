"""Of several tool calls the first is told, by whatever a server calls them."""

import pytest

from compass_ray.providers._one_call import OneCall
from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Chunk


def piece(name=None, arguments="", **index):
    said = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    told = {"function": said} if name is None else {"id": f"id-{name}", "function": said}
    return {**index, **told}


def told(*pieces):
    """Return what is left of a stream whose chunks each bring one piece, and what was noted."""
    state = StreamState("id", 0, "m")
    only = OneCall(state)
    kept = []
    for one in pieces:
        chunk = Chunk({"choices": [{"index": 0, "delta": {"tool_calls": [one]}}]})
        kept += only.chunk(chunk).body["choices"][0]["delta"].get("tool_calls", [])
    return [one["function"] for one in kept], state.made_good


@pytest.mark.parametrize(
    ("first", "second"), [({"index": 0}, {"index": 1}), ({"index": 0}, {"index": 0}), ({}, {})]
)
def test_a_second_call_is_left_out_with_all_its_pieces(first, second):
    kept, noted = told(
        piece("a", "{", **first),
        piece(None, "}", **first),
        piece("b", "[", **second),
        piece(None, "]", **second),
    )

    assert kept == [{"name": "a", "arguments": "{"}, {"arguments": "}"}]
    assert noted == ("parallel_tool_calls: 1 call left out",)


def test_one_call_in_pieces_stays_whole():
    kept, noted = told(piece("a", "{", index=0), piece(None, "}", index=0))

    assert len(kept) == 2
    assert noted == ()
