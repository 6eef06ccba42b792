"""How long answers are is learned beside what the rules know of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.classify import classify
from compass_ray.policy.lengths import HALF_LIFE, Length, lengthened, measured, news
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.decisions import Called, Outcome

RULES = shipped_rules()
CALLED = Called("a/m", ok=True, seconds=1.0)


def outcome(tokens, ruled=100, calls=(CALLED,), endpoint="a/m"):
    return Outcome("code", endpoint, 200, 20, 1.0, tokens, calls, ruled)


def after(*outcomes):
    length = Length()
    for one in outcomes:
        length = measured(length, one)
    return length


def ask(text="Write a python function.", limit=None):
    return ChatRequest(
        body={"messages": []},
        model="auto",
        text=text,
        last_user_text=text,
        needs=frozenset(),
        max_output_tokens=limit,
    )


def test_what_has_seen_nothing_leaves_it_to_the_rules():
    assert Length().factor == 1.0


@given(st.floats(0.1, 10), st.floats(1, 1_000))
def test_many_answers_overrule_the_rules(factor, ruled):
    known = after(*[outcome(ruled * factor, ruled)] * (5 * HALF_LIFE))

    assert known.factor == pytest.approx(factor, rel=0.3)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=50))
def test_a_factor_has_its_bounds(answers):
    assert 0.05 <= after(*(outcome(*one) for one in answers)).factor <= 20


def test_one_answer_hardly_counts():
    assert after(outcome(1_000)).factor == pytest.approx(1.43, abs=0.01)


def test_newer_answers_count_more():
    known = after(*[outcome(100)] * 2_000, *[outcome(300)] * HALF_LIFE)

    assert known.factor == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "silent", [outcome(900, calls=(CALLED, CALLED)), outcome(0, endpoint=""), outcome(5, ruled=0)]
)
def test_what_took_several_calls_or_was_not_answered_says_nothing(silent):
    assert after(silent) == Length()


def test_replicas_are_told_when_a_factor_has_moved():
    known = {"code": after(*[outcome(300)] * 100)}
    told = news({}, known)

    assert told == {"code": known["code"].factor}
    assert news(told, known) is None
    assert news(told, {"code": measured(known["code"], outcome(300))}) is None
    assert news(told, {"code": after(*[outcome(300)] * 200)}) is not None


def test_an_answer_is_expected_to_be_as_long_as_others_of_its_type_have_been():
    request = ask()
    seen = classify(request, RULES)
    found = lengthened(request, seen, {"code": 0.5})

    assert found.expected_output_tokens == seen.expected_output_tokens / 2 == 350
    assert found.reasons[-1] == ("350 output tokens: 0.50 times the rules', as answers have been")
    assert found == replace(seen, expected_output_tokens=350, reasons=found.reasons)
    assert lengthened(request, seen, {"math": 0.5}) is seen


@pytest.mark.parametrize(("limit", "expected"), [(1_000, 1_000), (800, 800), (None, 1_400)])
def test_nothing_longer_than_its_caller_s_limit_is_expected(limit, expected):
    request = ask(limit=limit)
    found = lengthened(request, classify(request, RULES), {"code": 2.0})

    assert found.expected_output_tokens == expected


def test_what_the_rules_say_of_length_is_known_without_the_caller_s_limit():
    seen = classify(ask(limit=100), RULES)

    assert (seen.ruled_output_tokens, seen.expected_output_tokens) == (700, 100)
