"""Exact counts from ranks that are shipped; the socket stays closed."""

import os

import pytest

from compass_ray.actors.tokenizer import Tokenizer

# OpenAI's recipe for counting gives these prompt tokens for its example, as its API does.
EXAMPLE = [
    (
        "system",
        (
            "You are a helpful, pattern-following assistant that translates corporate jargon "
            "into plain English."
        ),
        None,
    ),
    ("system", "New synergies will help drive top-line growth.", "example_user"),
    ("system", "Things working well together will increase revenue.", "example_assistant"),
    (
        "system",
        (
            "Let's circle back when we have more bandwidth to touch base on opportunities "
            "for increased leverage."
        ),
        "example_user",
    ),
    (
        "system",
        "Let's talk later when we're less busy about how to do better.",
        "example_assistant",
    ),
    (
        "user",
        "This late pivot means we don't have time to boil the ocean for the client deliverable.",
        None,
    ),
]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer()


@pytest.mark.parametrize(("model", "prompt_tokens"), [("gpt-4", 129), ("gpt-4o", 124)])
def test_openai_s_own_example_comes_to_what_openai_says(tokenizer, model, prompt_tokens):
    texts = [text for message in EXAMPLE for text in message if text is not None]
    names = sum(name is not None for *_, name in EXAMPLE)

    assert tokenizer.count(model, texts) + 3 * len(EXAMPLE) + names + 3 == prompt_tokens


def test_a_model_that_nobody_knows_is_not_counted(tokenizer):
    assert tokenizer.count("llama-3-8b", ["hi"]) is None


def test_a_control_token_in_a_text_is_text(tokenizer):
    assert tokenizer.count("gpt-4o", ["<|endoftext|>"]) > 1


def test_the_environment_is_as_it_was(tokenizer, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/elsewhere")

    Tokenizer().count("gpt-5", ["hi"])

    assert os.environ["TIKTOKEN_CACHE_DIR"] == "/elsewhere"
