import dataclasses
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.learned import shipped_model
from compass_ray.policy.classify import classify
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Preferences, Tier

RULES, MODEL = shipped_rules(), shipped_model()
ANY_TEXT = st.text(alphabet=st.characters(codec=None))
FILLER = "The cat sat on the mat and looked at the birds in the garden today. "


def request(text, whole=None, **fields):
    whole = text if whole is None else whole
    return ChatRequest(
        body={"messages": [{"role": "user", "content": text}]},
        model="auto",
        text=whole,
        last_user_text=text,
        needs=frozenset(),
        input_bytes=len(whole.encode("utf-8", "surrogatepass")) + 100,
        **fields,
    )


def seen(text, **fields):
    return classify(request(text, **fields), RULES)


def of_tokens(tokens):
    return (FILLER * (tokens * 4 // len(FILLER) + 1))[: tokens * 4 - 16]


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("code", Tier.SPECIALIZED),
        ("debug", Tier.SPECIALIZED),
        ("analyze", Tier.PREMIUM),
        (of_tokens(499), Tier.FAST),
        (of_tokens(501), Tier.BALANCED),
        (of_tokens(999), Tier.BALANCED),
        (of_tokens(5_000), Tier.BALANCED),
        (of_tokens(9_990), Tier.BALANCED),
        (of_tokens(10_100), Tier.PREMIUM),
    ],
)
def test_stage_one_says_what_the_document_says(text, tier):
    assert seen(text).tier is tier


@pytest.mark.parametrize(
    ("text", "urgency"),
    [
        ("urgent: what is the weather", "real-time"),
        ("I need this in real-time", "real-time"),
        ("run this async please", "batch"),
        ("do it in the next batch", "batch"),
        ("urgent, or in the next batch", "real-time"),
        ("what is the weather", "normal"),
        ("write an async function in Python", "normal"),
    ],
)
def test_urgency_is_read_from_words(text, urgency):
    assert seen(text).urgency == urgency


@pytest.mark.parametrize(
    ("text", "task", "tier"),
    [
        ("What is the capital of France?", "simple_qa", Tier.FAST),
        ("Write a Python function to calculate factorial", "code", Tier.BALANCED),
        ("Prove step by step that there is no largest prime", "reasoning", Tier.PREMIUM),
        ("Extract all email addresses as JSON", "extraction", Tier.FAST),
        ("Write a poem about autumn", "creative", Tier.BALANCED),
        ("Translate 'good morning' into German", "translation", Tier.FAST),
        ("Summarize the following report", "summarization", Tier.FAST),
        ("Compare the pros and cons of tea and coffee", "analysis", Tier.BALANCED),
        ("Solve the equation 3x + 4 = 19", "math", Tier.BALANCED),
        ("```\nx = 1\n```", "code", Tier.BALANCED),
        ("今日の天気を日本語から英語に翻訳", "translation", Tier.FAST),
    ],
)
def test_a_task_type_has_its_recommended_tier(text, task, tier):
    classification = seen(text)

    assert (classification.task_type, classification.tier) == (task, tier)


@pytest.mark.parametrize(
    ("text", "score", "value"),
    [
        ("Hello there.", "sentence_structure", 1),
        ("Although " + "it had rained in the valley for days and " * 5, "sentence_structure", 3),
        ("Hello there.", "technical_density", 1),
        ("Tune the Redis cache latency of a Kubernetes cluster", "technical_density", 3),
        ("```\nx = 1\n```", "technical_density", 3),
        ("Hello there.", "multi_step", 1),
        ("First mix it, then bake it, finally cool it", "multi_step", 3),
        ("Do:\n1. this\n2. that\n3. more", "multi_step", 3),
        ("Hello there.", "domain", 1),
        ("Is this contract clause a breach?", "domain", 3),
        ("Which dose of insulin for this patient?", "domain", 3),
        ("The court was muddy", "domain", 2),
        (of_tokens(900), "context", 1),
        (of_tokens(5_000), "context", 2),
        (of_tokens(11_000), "context", 3),
    ],
)
def test_stage_two_scores(text, score, value):
    assert seen(text).scores[score] == value


def test_poor_history_raises_complexity():
    text = "What is the capital of France?"
    good, poor = (classify(request(text), RULES, history) for history in (1, 3))

    assert poor.scores["history"] == 3
    assert poor.complexity > good.complexity


COMPLEX = (
    "First review the indemnity clause of this contract against the statute and then, "
    "assuming that the API gateway, the database cluster, the cache and the message queue "
    "of the vendor have the latency and the throughput that the protocol promises, "
    "explain why the liability of the defendant would or would not be limited"
)


def test_complexity_raises_the_tier_by_one():
    classification = seen(COMPLEX)

    assert classification.complexity >= RULES.complexity.raise_at
    assert classification.tier is Tier.PREMIUM
    assert "raised by complexity" in classification.reasons[-1]


def test_complexity_does_not_raise_the_callers_tier():
    assert seen(COMPLEX, preferences=Preferences(tier=Tier.FAST)).tier is Tier.FAST


def test_the_callers_tier_and_urgency_are_final():
    wish = Preferences(tier=Tier.FAST, urgency="batch")
    classification = seen("urgent and critical: analyze " + of_tokens(11_000), preferences=wish)

    assert classification.tier is Tier.FAST
    assert classification.urgency == "batch"


@pytest.mark.parametrize(
    ("text", "decided_by"),
    [
        ("mission-critical: debug this code", "critical accuracy"),
        ("debug this code " + of_tokens(11_000), "the token count"),
        ("analyze this code", "keyword 'code'"),
        ("analyze and summarize this", "keyword 'analyze'"),
        ("summarize this", "the table for summarization"),
        ("hello", "the token count"),
    ],
)
def test_the_first_rule_that_speaks_decides(text, decided_by):
    assert f"by {decided_by}" in seen(text).reasons[-1]


def test_every_rule_that_fired_is_among_the_reasons():
    reasons = " | ".join(seen("urgent and critical: analyze this code").reasons)

    for rule in ("urgency real-time", "accuracy critical", "'analyze'", "'code'", "input tokens"):
        assert rule in reasons


def test_a_short_last_message_is_read_with_the_conversation():
    classification = seen("and now?", whole="You debug Python code.\nand now?")

    assert classification.task_type == "code"


def test_a_system_prompt_does_not_speak_for_the_caller():
    whole = "You analyze code.\nWhich river flows through Vienna?"

    assert seen("Which river flows through Vienna?", whole=whole).tier is Tier.FAST


def test_expected_output_follows_task_and_limit():
    assert seen("Write a story").expected_output_tokens == RULES.tasks["creative"].output_tokens
    assert seen("Write a story", max_output_tokens=7).expected_output_tokens == 7
    assert seen("Translate this into French: " + of_tokens(1000)).expected_output_tokens > 1000


@given(ANY_TEXT, ANY_TEXT, st.sampled_from([1, 2, 3]))
def test_any_text_gets_a_decision(text, before, history):
    asked = request(text, whole=f"{before}\n{text}")
    classification = classify(asked, RULES, history)

    assert 1.0 <= classification.complexity <= 3.0
    assert set(classification.scores.values()) <= {1, 2, 3}
    assert classification.input_tokens > 0
    assert classification.reasons
    assert classify(asked, RULES, history) == classification


@given(ANY_TEXT, st.sampled_from(Tier))
def test_a_wished_tier_is_the_tier(text, tier):
    assert seen(text, preferences=Preferences(tier=tier)).tier is tier


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "word ",
        "代码。",
        "🎉",
        "\u0627\u0644\u0633\u0644\u0627\u0645 ",
        "\n",
        "\n1. ",
        "``` ",
        "as soon as step by step in the background ",
        "\ud800",
    ],
)
def test_a_megabyte_of_anything_takes_bounded_time(unit):
    asked = request((unit * 1_000_000)[:1_000_000])

    started = time.process_time()
    classify(asked, RULES)

    assert time.process_time() - started < 0.1


def test_reasons_hold_no_word_of_the_prompt_but_those_of_the_rules():
    classification = seen("Debug the code of my secret project Zanzibar for Alice")

    assert not {"zanzibar", "alice", "secret"} & set(" ".join(classification.reasons).split())


def test_rules_are_data():
    tasks = dict(RULES.tasks)
    tasks["creative"] = dataclasses.replace(tasks["creative"], words=("flibber",))
    rules = dataclasses.replace(RULES, tasks=tasks)

    assert classify(request("please flibber"), rules).task_type == "creative"


def test_a_learned_model_adds_what_to_expect_and_leaves_the_tier_to_the_rules():
    asked = request("Why does the sky look blue at noon and red in the evening?")
    alone, learned = classify(asked, RULES), classify(asked, RULES, model=MODEL)

    assert alone.expectation is None
    assert learned.expectation is not None
    assert learned.tier is alone.tier


def test_a_learned_field_names_the_task_only_where_no_word_does():
    told = "Tom had 3 apples, then Ann gave him 4 of hers and he ate 2. He now has what number?"
    spoken = "Translate into French: Tom had 3 apples, then Ann gave him 4 of hers, he ate 2."
    seen = classify(request(told), RULES, model=MODEL)

    assert classify(request(told), RULES).task_type == "simple_qa"
    assert seen.task_type == "math"
    assert any("learned with confidence" in reason for reason in seen.reasons)
    assert classify(request(spoken), RULES, model=MODEL).task_type == "translation"
