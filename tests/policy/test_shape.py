import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy import ngrams
from compass_ray.policy.shape import NAMES, shape


def seen(text):
    return dict(zip(NAMES, shape(ngrams.encode(text)), strict=True))


def test_characters_are_counted_by_kind():
    found = seen("Is 12 + 3 = 15? Yes, it is.")

    counts = {name: round(math.expm1(found[name])) for name in ("digits", "commas", "operators")}
    assert counts == {"digits": 5, "commas": 1, "operators": 1}
    assert round(math.expm1(found["numbers"])) == 3
    assert found["digits a byte"] == 5 / 27


def test_offered_options_are_recognised_by_their_letters():
    found = seen("Which?\nA. one\nB. two\nC. three\nD. four")

    assert round(math.expm1(found["options"])) == 4
    assert found["last option"] == 4
    assert round(math.expm1(found["before the options"])) == len("Which?")


def test_a_sentence_that_begins_a_line_is_no_option():
    assert seen("Hello.\nAnd so on.\nI agree")["options"] == 0


@given(st.text(max_size=200))
def test_any_text_has_a_finite_shape(text):
    assert np.isfinite(shape(ngrams.encode(text))).all()
