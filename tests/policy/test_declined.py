import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.declined import declines


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I can\u2019t assist with that request.",
        "Sorry, I cannot do that.",
        "I cannot provide medical advice.",
        "As an AI language model, I have no opinions.",
        "Unfortunately, I am unable to answer.",
        "I don't have access to real-time data.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Je suis désolé, mais je ne peux pas répondre.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "抱歉\uff0c我无法回答这个问题。",
        "申し訳ありませんが、お答えできません。",
    ],
)
def test_a_refusal_is_seen_by_how_it_begins(text):
    assert declines(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris.",
        "As an AI researcher, she writes code.",
        "The letter says: sorry for the delay, we cannot deliver before Monday.",
        "You can't divide by zero, so the function raises an error.",
        "I can help with that. First, open the file.",
        "He said that he was sorry. " + "Then the story goes on. " * 60,
        "I'm sorry, but I can't keep it short. " + "Here is what there is to say. " * 60,
    ],
)
def test_an_answer_is_no_refusal(text):
    assert not declines(text)


@given(st.text())
def test_any_text_has_a_verdict(text):
    assert declines(text) in {True, False}


def test_a_long_text_takes_no_time():
    began = time.perf_counter()

    declines("i'm sorry " * 1_000_000)
    declines("i'm sorry " * 100)

    assert time.perf_counter() - began < 0.5
