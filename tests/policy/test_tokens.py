import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.pricing import max_input_tokens
from compass_ray.policy.tokens import input_tokens, tokens_of
from compass_ray.types.chat import ChatRequest

ANY_TEXT = st.text(alphabet=st.characters(codec=None))


def request(text: str, **body) -> ChatRequest:
    body = {"messages": [{"role": "user", "content": text}]} | body
    size = len(text.encode("utf-8", "surrogatepass")) + len(str(body))
    return ChatRequest(
        body=body,
        model="auto",
        text=text,
        last_user_text=text,
        needs=frozenset(),
        input_bytes=size,
    )


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        ("What is the capital of France?", 6, 10),
        ("the quick brown fox jumps over the lazy dog " * 100, 900, 1200),
        ("Быстрая коричневая лиса прыгает через ленивую собаку " * 20, 300, 700),
        ("人工智能正在改变世界。" * 50, 350, 600),
        ("🎉🚀😀" * 100, 200, 900),
        ("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 100, 1500, 2600),
    ],
    ids=["empty", "english", "long english", "russian", "chinese", "emoji", "base64"],
)
def test_an_estimate_is_near_what_tokenizers_count(text, low, high):
    assert low <= tokens_of(text) <= high


@given(ANY_TEXT)
def test_an_estimate_lies_between_nothing_and_one_token_a_byte(text):
    assert 0 <= tokens_of(text) <= len(text.encode("utf-8", "surrogatepass"))


@given(ANY_TEXT)
def test_input_is_never_estimated_above_its_upper_bound(text):
    asked = request(text)

    assert 0 < input_tokens(asked) <= max_input_tokens(asked)


def test_tools_count_as_input():
    schema = {"type": "function", "function": {"name": "f", "description": "d" * 4000}}

    assert input_tokens(request("hi", tools=[schema])) > input_tokens(request("hi")) + 700
