import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.opinion import question, verdict
from compass_ray.types.chat import ChatRequest


def asked(text):
    return ChatRequest({}, "auto", text, text, frozenset())


def quoted(body):
    return orjson.loads(body["messages"][1]["content"])


@pytest.mark.parametrize("n", range(11))
def test_a_verdict_is_a_whole_number_from_0_to_10(n):
    assert verdict(f'{{"score": {n}}}\n') == n / 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        '{"score": 11}',
        '{"score": -1}',
        '{"score": 7.5}',
        '{"score": "7"}',
        '{"score": 7} because it is good',
        '```json\n{"score": 7}\n```',
        '{"score": 10, "score": 0}',
        '{"score": \u0667}',
    ],
)
def test_all_else_is_no_verdict(text):
    assert verdict(text) is None


@given(st.text(), st.text())
def test_question_and_answer_are_quoted_whatever_they_say(text, said):
    body = question(asked(text), said, "m")

    assert quoted(body) == {"request": text, "answer": said}


def test_a_long_text_loses_its_middle():
    body = question(asked("a" * 1_000_000), "b", "m")

    assert len(quoted(body)["request"]) < 25_000
