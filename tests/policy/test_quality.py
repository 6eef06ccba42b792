import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.learned import shipped_model
from compass_ray.policy.quality import SCORES, expect, features
from compass_ray.types.routing import Tier

MODEL = shipped_model()
PLAIN = dict.fromkeys((*SCORES, "history"), 1)
HARD = (
    "Let $G$ be a finite group of order $p^2 q$ with primes $p > q$. Which is true?\n"
    "A. G is simple\nB. G has a normal Sylow p-subgroup\nC. G is abelian\nD. G is perfect\n"
    "E. none\nF. G is cyclic\nG. G is a p-group\nH. q divides p\nI. p divides q\nJ. G is free"
)
EASY = "Natalia has 3 apples and buys 4 more. How many apples does she have now?"


def test_a_hard_question_needs_strength_more_than_an_easy_one():
    hard, easy = (expect(text, PLAIN, MODEL) for text in (HARD, EASY))

    assert hard.need > easy.need
    assert hard.quality[Tier.FAST] < easy.quality[Tier.FAST]


def test_the_field_is_recognised_without_any_listed_word():
    law = "The defendant's counsel moved to suppress the confession under the Fifth Amendment."

    assert expect(EASY, PLAIN, MODEL).field == "math"
    assert expect(law, PLAIN, MODEL).field == "legal"


@given(st.text(max_size=400))
def test_probabilities_are_probabilities_whatever_the_text(text):
    seen = expect(text, PLAIN, MODEL)

    assert set(seen.quality) == set(Tier)
    assert all(0 < quality < 1 for quality in (*seen.quality.values(), seen.confidence))
    assert expect(text, PLAIN, MODEL) == seen


@pytest.mark.parametrize("text", ["", "a" * 1_000_000, "\ud800", "\n" * 9])
def test_odd_texts_have_finite_features(text):
    assert np.isfinite(features(text, PLAIN, MODEL)).all()


def test_the_scores_of_stage_2_are_features():
    raised = {**PLAIN, "domain": 3}

    assert (features(EASY, raised, MODEL) != features(EASY, PLAIN, MODEL)).sum() == 1
