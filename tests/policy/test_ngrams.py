from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy import ngrams


def buckets(text):
    return set(ngrams.buckets(ngrams.encode(ngrams.sample(text))).tolist())


def test_the_buckets_of_a_text_never_change():
    assert ngrams.buckets(ngrams.encode("Why is it?")).tolist() == KNOWN


def test_capitals_make_no_difference_and_words_do():
    assert buckets("What is LOVE") == buckets("what is love")
    assert buckets("what is love") != buckets("what is hate")


def test_the_order_of_words_counts():
    assert buckets("dog bites man today") != buckets("man bites dog today")


def test_a_text_holds_the_words_of_its_parts():
    word = buckets("zebra") & buckets("a zebra runs") & buckets("the zebra")

    assert word


def test_of_a_long_text_both_ends_are_read_and_nothing_else():
    start, end = "start " * 400, " the end" * 300
    short = start[: ngrams.READ_CHARS] + "\n" + end[-ngrams.READ_CHARS :]

    assert buckets(start + "x" * 1_000_000 + end) == buckets(short)


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_read(text):
    found = ngrams.buckets(ngrams.encode(ngrams.sample(text)))

    assert ((found >= 0) & (found < 1 << ngrams.BITS)).all()
    assert (found[1:] > found[:-1]).all()


def test_the_widest_characters_fit():
    text = "\U0001f600" * (2 * ngrams.READ_CHARS + 1)

    assert buckets(text)


KNOWN = [4459, 12831, 24315, 33794, 38738, 38832, 38872, 45013, 50531, 51963, 58645]
