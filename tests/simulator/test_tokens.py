from hypothesis import given
from hypothesis import strategies as st

from compass_ray.simulator.tokens import count, count_request, split

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def test_four_bytes_are_a_token():
    assert [count(text) for text in ("", "a", "abcd", "abcde", "é🦊")] == [0, 1, 1, 2, 2]


def test_a_request_is_its_texts_its_images_and_a_template():
    assert count_request(["abcde", "a"], media=1) == 3 + 256 + (2 + 4) + (1 + 4)


@given(TEXTS)
def test_a_text_is_cut_into_as_many_tokens_as_it_counts(text):
    assert "".join(split(text)) == text
    assert len(split(text)) == count(text)
    assert all(split(text))


@given(TEXTS, st.integers(0, 50))
def test_the_first_k_tokens_count_as_k(text, k):
    first = split(text)[:k]

    assert count("".join(first)) == len(first)
