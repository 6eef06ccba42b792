from hypothesis import given
from hypothesis import strategies as st

from compass_ray.simulator.script import CALM, Behaviour, Facts, Match, Rule, choose, unseen

FACTS = Facts("openai", "sim-1", "please fail now")


def rule(text, **match):
    return Rule(Match(**match), Behaviour(text=text))


def run(script, requests, u=0.5):
    seen, texts = unseen(script), []
    for facts in requests:
        behaviour, seen = choose(script, seen, facts, u)
        texts.append(behaviour.text)
    return texts


def test_without_a_rule_the_simulator_is_calm():
    assert choose((), (), FACTS, 0.5) == (CALM, ())


def test_the_first_rule_that_matches_wins():
    script = (rule("other", model="sim-2"), rule("first"), rule("second"))

    assert run(script, [FACTS]) == ["first"]


def test_a_rule_matches_by_provider_model_and_text_together():
    script = (rule("hit", provider="openai", model="sim-1", contains="fail"),)

    assert run(script, [FACTS]) == ["hit"]
    assert run(script, [Facts("google", "sim-1", "fail")]) == [None]
    assert run(script, [Facts("openai", "sim-2", "fail")]) == [None]
    assert run(script, [Facts("openai", "sim-1", "go on")]) == [None]


def test_a_rule_can_tell_a_question_from_a_tool_s_result():
    script = (rule("done", after_tool=True), rule("call", after_tool=False))
    result = Facts("openai", "sim-1", "sunny", after_tool=True)

    assert run(script, [FACTS, result]) == ["call", "done"]


def test_a_rule_may_be_for_a_server_that_is_busy():
    script = (rule("busy", busier_than=7), rule("fine"))
    facts = [Facts("openai", "sim-1", "", others=others) for others in (0, 7, 8)]

    assert run(script, facts) == ["fine", "fine", "busy"]


def test_nth_counts_the_requests_the_rule_is_for():
    script = (rule("hit", provider="openai", nth=(1, 3)),)
    other = Facts("google", "sim-1", "")

    assert run(script, [other, FACTS, other, FACTS, FACTS, FACTS]) == [
        None, "hit", None, None, "hit", None,
    ]  # fmt: skip


def test_a_rule_counts_requests_that_an_earlier_rule_answered():
    script = (rule("first", nth=(1,)), rule("second", nth=(2,)))

    assert run(script, [FACTS] * 3) == ["first", "second", None]


@given(st.floats(0, 1, exclude_max=True))
def test_certain_and_impossible_rules_do_not_depend_on_chance(u):
    script = (rule("never", probability=0.0), rule("always", probability=1.0))

    assert run(script, [FACTS], u) == ["always"]


def test_two_rules_of_one_half_share_one_draw_independently():
    script = (rule("a", probability=0.5), rule("b", probability=0.5))
    texts = [run(script, [FACTS], u / 1000)[0] for u in range(1000)]

    assert (texts.count("a"), texts.count("b"), texts.count(None)) == (500, 250, 250)
