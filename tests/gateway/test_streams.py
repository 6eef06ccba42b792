"""What becomes of a stream that breaks off in its middle, by the caller's wish."""

import pytest

from compass_ray.types.chat import Chunk
from compass_ray.types.errors import (
    AllAttemptsFailed,
    BrokenStream,
    Overloaded,
    ProviderTimeout,
    Rejected,
)
from compass_ray.types.usage import Usage

from .conftest import USAGE, Provider, chunk, endpoint

CUT = BrokenStream("cut")


def said(text="", finish_reason=None, **delta):
    """Return a chunk as a provider sends it, with an id of its own."""
    choice = {"index": 0, "delta": {"content": text} | delta, "finish_reason": finish_reason}
    body = {"id": "theirs", "created": 1, "model": "m", "choices": [choice]}
    return Chunk(body, len(text), None, finish_reason)


END = said(finish_reason="stop")


async def read(reply):
    """Return a stream's chunks, and the error that ended it."""
    bodies, error = [], None
    try:
        async for body in reply.chunks():
            bodies.append(body)  # noqa: PERF401  # what came before an error counts
    except AllAttemptsFailed as failure:
        error = failure
    finally:
        await reply.close()
    return bodies, error


def text_of(bodies):
    """Return what a client has that begins anew where it is told to."""
    text = ""
    for body in bodies:
        if body.get("compass", {}).get("event") == "restart":
            text = ""
        text += body["choices"][0]["delta"].get("content") or ""
    return text


def marks(bodies):
    return [body for body in bodies if "event" in body.get("compass", {})]


async def stream(w, on_break, **fields):
    return await read(await w.chat(stream=True, compass={"on_break": on_break}, **fields))


async def test_a_restart_marks_what_came_before_as_void(world):
    w = world(
        a=Provider([said(role="assistant"), said("x" * 30), CUT]),
        b=Provider([said(role="assistant"), said("whole"), END]),
    )

    bodies, error = await stream(w, "restart")

    assert error is None
    assert text_of(bodies) == "whole"
    (mark,) = marks(bodies)
    assert mark["compass"]["event"] == "restart"
    assert mark["compass"]["endpoint"] == "b/m"
    assert [(a["endpoint"], a["ok"]) for a in mark["compass"]["attempts"]] == [
        ("a/m", False),
        ("b/m", True),
    ]
    after = bodies[bodies.index(mark) :]
    assert [body["choices"][0]["delta"].get("role") for body in after].count("assistant") == 1
    assert mark["choices"][0]["delta"]["role"] == "assistant"
    assert {body["id"] for body in bodies} == {"theirs"}
    assert [a["ok"] for a in bodies[-1]["compass"]["attempts"]] == [False, True]


async def test_every_attempt_of_a_stream_is_charged_once_and_to_its_own_endpoint(world):
    w = world(
        a=Provider([said("x" * 30), CUT]),
        b=Provider([said("whole"), END, chunk(usage=USAGE)]),
        left=1_000,
    )

    await stream(w, "restart")

    (_, first, broken, estimate), (_, second, cost, usage) = w.purse.ends
    assert (first, second, usage) == ("a", "b", USAGE)
    assert estimate.estimated
    assert estimate.output_tokens == 10
    assert w.purse.left == 1_000 - broken - cost
    assert w.records[0].cost == broken + cost
    assert [attempt.cost for attempt in w.records[0].attempts] == [broken, cost]
    assert (w.records[0].status, w.records[0].provider) == (200, "b")


@pytest.mark.parametrize("cut_after", range(1, 12))
async def test_a_continuation_neither_repeats_nor_leaves_out_a_character(world, cut_after):
    answer = "one two  \n\nthree"
    pieces = [said(letter) for letter in answer]
    rest = answer[len(answer[:cut_after].rstrip()) :]
    w = world(
        a=Provider([said(role="assistant"), *pieces[:cut_after], CUT]),
        b=Provider([said(role="assistant"), said(rest), END], prefills=True),
    )

    bodies, error = await stream(w, "continue")

    assert error is None
    assert text_of(bodies) == answer
    assert [body["choices"][0]["delta"].get("role") for body in bodies].count("assistant") == 1
    assert {body["id"] for body in bodies} == {"theirs"}
    (mark,) = marks(bodies)
    assert mark["compass"]["event"] == "continue"
    assert mark["choices"][0]["delta"] == {}
    asked = w.providers["b"].requests[0]
    assert asked.body["messages"][-1] == {
        "role": "assistant",
        "content": answer[:cut_after].rstrip(),
    }
    assert asked.max_output_tokens == asked.body["max_tokens"] == 20 - -(-cut_after // 3)


async def test_a_continuation_that_breaks_is_gone_on_with_from_where_it_broke(world):
    w = world(
        a=Provider([said("one "), CUT]),
        b=Provider([said("two "), CUT], prefills=True),
        c=Provider([said("three"), END], prefills=True),
    )

    bodies, error = await stream(w, "continue")

    assert error is None
    assert text_of(bodies) == "one two three"
    assert [end[1] for end in w.purse.ends] == ["a", "b", "c"]


async def test_only_a_model_that_takes_a_prefill_goes_on(world):
    w = world(
        a=Provider([said("one "), CUT]),
        b=Provider(),
        c=Provider([said("two"), END], prefills=True),
    )

    bodies, _ = await stream(w, "continue")

    assert text_of(bodies) == "one two"
    assert w.providers["b"].calls == 0


async def test_without_a_model_that_takes_a_prefill_the_stream_ends_with_the_error(world):
    w = world(a=Provider([said("one "), CUT]), b=Provider())

    bodies, error = await stream(w, "continue")

    assert text_of(bodies) == "one "
    assert error.message == "cut"
    assert [attempt["error"] for attempt in error.attempts] == ["BrokenStream"]
    assert len(w.purse.ends) == 1
    assert w.records[0].status == 502


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]}


@pytest.mark.parametrize(
    ("delta", "fields"),
    [
        (CALL, {}),
        ({"reasoning_content": "hm"}, {}),
        ({"refusal": "I"}, {}),
        ({}, {"n": 2}),
        ({}, {"response_format": {"type": "json_object"}}),
        ({}, {"max_tokens": 1}),
        (
            {},
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        ),
    ],
)
async def test_what_no_prefill_can_express_is_not_gone_on_with(world, delta, fields):
    w = world(a=Provider([said("one", **delta), CUT]), b=Provider(prefills=True))

    _, error = await stream(w, "continue", **fields)

    assert error.message == "cut"
    assert w.providers["b"].calls == 0


async def test_a_break_before_the_first_word_needs_no_prefill(world):
    w = world(a=Provider([said(role="assistant"), CUT]), b=Provider([said("all"), END]))

    bodies, error = await stream(w, "continue")

    assert error is None
    assert text_of(bodies) == "all"
    assert w.providers["b"].requests[0].body["messages"][-1]["role"] == "user"


@pytest.mark.parametrize("on_break", ["restart", "continue"])
async def test_nothing_goes_on_beyond_the_attempts_allowed(world, on_break):
    w = world(
        a=Provider(*[[said("one "), CUT]] * 9, prefills=True),
        attempts=3,
    )

    bodies, error = await stream(w, on_break)

    assert w.providers["a"].calls == 3
    assert [attempt["error"] for attempt in error.attempts] == ["BrokenStream"] * 3
    assert len(w.purse.ends) == 3
    assert len(marks(bodies)) == 2


async def test_nothing_goes_on_without_money(world):
    w = world(a=Provider([said("x" * 30), CUT]), b=Provider(prefills=True), left=230)

    _, error = await stream(w, "continue")

    assert error.status == 502  # of the provider that broke off; the others are too dear
    assert w.providers["b"].calls == 0
    assert w.records[0].status == 502


async def test_a_mark_comes_only_with_what_follows_it(world):
    w = world(a=Provider([said("one"), CUT]), b=Provider([Overloaded("503")]), attempts=2)

    bodies, error = await stream(w, "restart")

    assert not marks(bodies)
    assert [attempt["error"] for attempt in error.attempts] == ["BrokenStream", "Overloaded"]


async def test_what_a_provider_rejects_in_mid_stream_is_asked_nowhere_else(world):
    w = world(a=Provider([said("one"), Rejected("filtered")]), b=Provider())

    _, error = await stream(w, "restart")

    assert error.message == "filtered"
    assert w.providers["b"].calls == 0


@pytest.mark.parametrize("on_break", ["error", "restart", "continue"])
async def test_a_break_after_the_finish_reason_leaves_the_answer_whole(world, on_break):
    stall = ProviderTimeout("slow", phase="idle")
    w = world(a=Provider([said("x" * 30), END, stall]), b=Provider())

    bodies, error = await stream(w, on_break)

    assert error is None
    assert bodies[-1]["choices"][0]["finish_reason"] == "stop"
    assert w.providers["b"].calls == 0
    assert w.records[0].status == 200
    assert w.purse.ends[0][3] == Usage(input_tokens=5, output_tokens=10, estimated=True)


async def test_a_caller_who_leaves_after_a_break_stops_who_answers_now(world):
    w = world(a=Provider([said("one"), CUT]), b=Provider([said("two"), None]))
    reply = await w.chat(stream=True, compass={"on_break": "restart"})
    chunks = reply.chunks()
    while "compass" not in await anext(chunks):
        pass

    await reply.close()

    assert w.providers["b"].closed == 1
    assert [end[1] for end in w.purse.ends] == ["a", "b"]
    assert w.records[0].status == 499


async def test_a_prefill_counts_as_input_where_nobody_says_what_was_used(world):
    w = world(
        a=Provider([said("x" * 30), CUT]),
        b=Provider([said("y"), END], prefills=True),
        endpoints=[endpoint("a"), endpoint("b")],
    )

    await stream(w, "continue", max_tokens=60)

    first, second = (end[3].input_tokens for end in w.purse.ends)
    assert second == first + 10
