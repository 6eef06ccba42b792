import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.learned import shipped_verifier
from compass_ray.policy.verifier import FEATURES, chance_right, features, gives_reasons, plain

SHIPPED = shipped_verifier()
QUESTION = "A farm has 12 hens. Each lays 5 eggs a week. How many eggs are laid in 3 weeks?"
WORKED = "Each week 12 * 5 = 60 eggs are laid.\nIn 3 weeks that is 60 * 3 = 180 eggs.\n180"
ASTRAY = (
    "It is unclear how many hens lay. Perhaps 7 of them do, so approximately 7 * 9.5 = 66.5.\n"
    "Wait, that seems wrong. Assume 0.37 of 412.9, however, which is 152.773.\n"
    "So maybe the answer is 152.773 / 8.41 = 18.1656"
)


@given(st.text(), st.text())
def test_any_answer_to_any_question_has_a_chance_and_no_certainty(question, answer):
    values = features(question, answer)

    assert values.shape == (len(FEATURES),)
    assert np.isfinite(values).all()
    assert 0 < chance_right(question, answer, SHIPPED) < 1


def test_what_is_worked_out_is_likelier_right_than_what_goes_astray():
    worked, astray = (chance_right(QUESTION, answer, SHIPPED) for answer in (WORKED, ASTRAY))

    assert worked > astray + 0.3


def test_a_long_text_is_read_in_part():
    end = "\n" + WORKED * 200

    assert (features(QUESTION, "x" * 10**6 + end) == features(QUESTION, "y" * 10**7 + end)).all()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"reasoning": "1 + 1", "answer": 2}', "1 + 1\n2"),
        ('```json\n{"reasoning": "1 + 1", "answer": "2"}\n```', "1 + 1\n2"),
        ("[1, 2]", "[1, 2]"),
        ("2", "2"),
        ('{"answer": ', '{"answer": '),
        ("", ""),
    ],
)
def test_a_form_is_taken_off(answer, said):
    assert plain(answer) == said


def test_numbers_are_known_by_where_they_come_from():
    seen = dict(zip(FEATURES, features("I have 3 and 4.", "3 + 4 = 7, so 7"), strict=True))

    assert seen["the last number is in the question"] == 0
    assert seen["the last number is said before"] == 1
    assert seen["numbers that the question has not"] == pytest.approx(math.log1p(1))
    assert seen["numbers of the question that are not used"] == 0


def test_only_what_gives_its_reasons_is_like_what_was_learned_from():
    assert gives_reasons(ASTRAY)
    assert not gives_reasons("15 % of 240 is 36.")


def test_what_is_nested_too_deep_to_be_written_is_left_out():
    assert plain('{"a": ' + "[" * 1_020 + "]" * 1_020 + ', "b": "36"}').endswith("36")
