import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.evaluate import evaluate
from compass_ray.types.chat import Answer, ChatRequest
from compass_ray.types.routing import Classification, Endpoint, Tier

ENDPOINT = Endpoint("p", "m", "m", Tier.FAST, context_window=10_000, max_output_tokens=1_000)
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"required": ["a"]}}}


def request(limit=None, needs=(), **body):
    return ChatRequest(
        body={"messages": [{"role": "user", "content": "hi"}], **body},
        model="auto",
        text="hi",
        last_user_text="hi",
        needs=frozenset(needs),
        max_output_tokens=limit,
    )


def seen(task="simple_qa"):
    return Classification(
        task_type=task,
        tier=Tier.FAST,
        complexity=1.0,
        urgency="normal",
        input_tokens=10,
        expected_output_tokens=10,
        scores={},
        reasons=(),
    )


def choice(text, finish="stop", **message):
    return {"index": 0, "message": {"content": text, **message}, "finish_reason": finish}


def judged(*choices, asked=None, task="simple_qa"):
    return evaluate(
        asked or request(), seen(task), ENDPOINT, Answer({"choices": choices}, None, "stop")
    )


def lorem(words):
    rng = random.Random(1)
    return " ".join("".join(rng.choices("abcdefghijkl", k=5)) for _ in range(words))


@pytest.mark.parametrize(
    ("answered", "asked", "score", "reasons"),
    [
        (choice("Paris."), request(), 1.0, ()),
        (choice(""), request(), 0.0, ("says nothing",)),
        (choice(None), request(), 0.0, ("says nothing",)),
        (choice(" \n"), request(), 0.0, ("says nothing",)),
        (choice("I'm sorry, but I can't do that."), request(), 0.3, ("refuses",)),
        (choice(None, refusal="No."), request(), 0.3, ("refuses",)),
        (
            choice("", "content_filter"),
            request(),
            0.3,
            ("was stopped by the provider's filter",),
        ),
        (choice("And so", "length"), request(), 0.4, ("is cut off by the model's own limit",)),
        (choice("And so", "length"), request(limit=10), 1.0, ()),
        (choice("", "length"), request(limit=10), 1.0, ()),
        (choice('{"a": ', "length"), request(limit=10, response_format=SCHEMA), 1.0, ()),
        (
            choice("And so", "length"),
            request(limit=5_000),
            0.4,
            ("is cut off by the model's own limit",),
        ),
        (choice('{"a": 1}'), request(response_format=SCHEMA), 1.0, ()),
        (
            choice('{"b": 1}'),
            request(response_format=SCHEMA),
            0.1,
            ("breaks its schema (required)",),
        ),
        (choice("Say it. " * 200), request(), 0.2, ("repeats itself",)),
        (choice(lorem(400)), request(), 1.0, ()),
        (choice("```py\nprint()"), request(), 0.5, ("does not close its block of code",)),
    ],
)
def test_what_is_found_lowers_the_score(answered, asked, score, reasons):
    found = judged(answered, asked=asked)

    assert (found.score, found.reasons) == (score, reasons)


def test_calls_are_an_answer_and_measured_by_their_tools():
    tools = [{"type": "function", "function": {"name": "weather"}}]
    asked = request(needs=["tools"], tools=tools)
    calls = [{"function": {"name": "weather", "arguments": "{}"}}]
    wrong = [{"function": {"name": "sing", "arguments": "{}"}}]

    assert judged(choice(None, "tool_calls", tool_calls=calls), asked=asked).score == 1.0
    assert judged(choice(None, "tool_calls", tool_calls=wrong), asked=asked).score == 0.1


@pytest.mark.parametrize(
    ("texts", "agreeing"),
    [
        (["Paris", "paris.", "Rome"], 2),
        (['{"a": 1, "b": 2}', '{"b": 2, "a": 1}'], 2),
        (["So it is:\n" + lorem(30) + " gives 1,234", "Thus\n" + lorem(40) + " it is 1234"], 2),
        (["Paris", "Rome"], 1),
    ],
)
def test_choices_that_disagree_lower_the_score(texts, agreeing):
    found = judged(*map(choice, texts))

    assert found.score == round(agreeing / len(texts), 4)
    assert found.reasons == (f"{agreeing} of {len(texts)} choices agree",)


@pytest.mark.parametrize(
    ("task", "texts"), [("creative", ["A", "B"]), ("math", [lorem(30), lorem(31)])]
)
def test_choices_that_cannot_be_compared_do_not(task, texts):
    assert judged(*map(choice, texts), task=task).score == 1.0


_CALLS = st.none() | st.lists(st.dictionaries(st.text(max_size=9), st.text(max_size=9)), max_size=2)


@given(
    st.lists(
        st.builds(
            choice,
            st.none() | st.text() | st.text(max_size=3).map(lambda text: text * 400),
            st.sampled_from(["stop", "length", "tool_calls", "content_filter", None]),
            tool_calls=_CALLS,
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([None, 10, 5_000]),
    st.sampled_from([None, {"type": "json_object"}, SCHEMA]),
)
def test_any_answer_has_a_score_that_is_explained(choices, limit, response_format):
    asked = request(limit=limit, needs=["tools"], tools=[], response_format=response_format)

    found = judged(*choices, asked=asked, task="math")

    assert 0 <= found.score <= 1
    assert found.score == 1 or found.reasons


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 300 + "]" * 300, "1" * 100_000, "\ud800"])
def test_a_trap_is_an_answer_like_others(text):
    found = judged(choice(text), choice(text), asked=request(response_format=SCHEMA))

    assert 0 <= found.score <= 1
