import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.lexicon import Lexicon, cut, normal_form, read

LEXICON = Lexicon(
    {
        "code": ("code", "unit test", "代码"),
        "urgent": ("real-time", "as soon as possible"),
    },
    ignored=("zip code",),
)


def found(text, lexicon=LEXICON, read_chars=1000):
    hits = lexicon.find(read(text, read_chars))
    return {group: [hit.entry for hit in entries] for group, entries in hits.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("review my CODE, please", {"code": ["code"]}),
        ("decode this encoded barcode", {}),
        ("in Real-time", {"urgent": ["real time"]}),
        ("a unit\ntest", {"code": ["unit test"]}),
        ("a unit of the test", {}),
        ("a unit testing a unit", {}),
        ("请写一段代码给我", {"code": ["代码"]}),
        ("what is my zip code", {}),
        ("code that reads a zip code", {"code": ["code"]}),
        ("", {}),
        ("\u202e code \u202c", {"code": ["code"]}),
    ],
)
def test_whole_words_and_phrases_are_found(text, expected):
    assert found(text) == expected


def test_a_hit_knows_whether_it_stands_in_the_opening():
    hits = LEXICON.find(read("code " + "word " * 50 + " unit test", 1000))["code"]

    assert [(hit.entry, hit.opening) for hit in hits] == [("code", True), ("unit test", False)]


def test_both_ends_of_a_long_text_are_read_and_nothing_between():
    text = "alpha " * 100 + "code " + "omega " * 100 + "as soon as possible"
    reading = read(text, 200)

    assert not reading.whole
    assert list(LEXICON.find(reading)) == ["urgent"]


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_cut_like_any_other_text(text):
    assert cut(text) == re.findall(r"\w+", text.lower())


@given(st.text(alphabet=st.characters(codec=None)), st.integers(1, 50))
def test_any_text_can_be_read(text, read_chars):
    reading = read(text, read_chars)

    assert len(reading.sample) <= max(len(text), 2 * read_chars + 1)
    LEXICON.find(reading)


@given(st.text(min_size=1))
def test_an_entry_is_found_in_itself(entry):
    normal = normal_form(entry)
    lexicon = Lexicon({"group": (entry,)})

    assert not normal or found(entry, lexicon) == {"group": [normal]}


@pytest.mark.parametrize("unit", ["a", "as soon as ", "real ", "zip zip code ", "é", "\n", "9."])
def test_a_megabyte_of_anything_takes_bounded_time(unit):
    text = (unit * 1_000_000)[:1_000_000]

    started = time.process_time()
    found(text, read_chars=16_384)

    assert time.process_time() - started < 0.1
