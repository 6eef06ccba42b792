from importlib import resources

import pytest

from compass_ray.rules import parse_rules, shipped_rules
from compass_ray.types.errors import ConfigError
from compass_ray.types.routing import Tier

TEXT = (resources.files("compass_ray") / "data" / "rules.yaml").read_text(encoding="utf-8")


def test_the_shipped_rules_hold_the_documents_tables():
    rules = shipped_rules()

    assert (rules.size.fast_below, rules.size.balanced_below) == (500, 1000)
    assert rules.size.premium_above == 10_000
    assert {name: int(task.tier) for name, task in rules.tasks.items()} == {
        "simple_qa": 3,
        "code": 2,
        "reasoning": 1,
        "math": 2,
        "extraction": 3,
        "creative": 2,
        "translation": 3,
        "summarization": 3,
        "analysis": 2,
    }
    assert rules.keywords[0].tier is Tier.SPECIALIZED
    assert {"code", "debug"} <= set(rules.keywords[0].words)
    assert {"analyze"} <= set(rules.keywords[1].words)
    assert rules.domains["legal"].score == rules.domains["medical"].score == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("read_chars: 16384", "read_chars: 9999999", "read_chars: must be from 256 to 65536"),
        ("fast_below: 500", "fast_below: 5000", "size: must rise"),
        ("fast_below: 500", "fast_under: 500", "size.fast_under: unknown key"),
        ("raise_at: 2.0", "raise_at: high", "complexity.raise_at: must be a number"),
        ("steps: [1, 3]", "steps: [3, 1]", "complexity.steps: must be two numbers"),
        ("steps: [1, 3]", "steps: [3]", "complexity.steps: must be two numbers"),
        ("tier: specialized", "tier: best", "keywords[0].tier: must be one of premium"),
        ("[code, debug,", "[c++, debug,", "keywords[0].words[0]: 'c++' would match 'c'"),
        ("[code, debug,", "['?!', debug,", "keywords[0].words[0]: '?!' would match ''"),
        ("real-time: [", "realtime: [", "urgency.realtime: unknown key"),
        ("  creative:", "  poetry:", "tasks.poetry: unknown key"),
        ("technical: [algorithm,", "technical: [big o,", "technical[0]: 'big o' must be a single"),
        ("score: 3", "score: 5", "domains.legal.score: must be one of 1, 2, 3"),
    ],
)
def test_a_mistake_is_reported_with_its_line(old, new, message):
    assert old in TEXT
    line = TEXT[: TEXT.index(old)].count("\n") + 1

    with pytest.raises(ConfigError) as caught:
        parse_rules(TEXT.replace(old, new, 1), "mine.yaml")

    assert message in str(caught.value)
    assert caught.value.file == "mine.yaml"
    assert abs(caught.value.line - line) <= 1


def test_tiers_may_be_numbers_and_ignored_phrases_may_be_left_out():
    text = TEXT.replace("tier: specialized", "tier: 4")
    start, end = text.index("ignored:"), text.index("tasks:")
    rules = parse_rules(text[:start] + text[end:], "mine.yaml")

    assert rules.keywords[0].tier is Tier.SPECIALIZED
    assert rules.ignored == ()
