"""What a request looks like: task type, tier, urgency and size, by rules that explain themselves.

Words are read in the caller's last message, or in the whole conversation where that message is
only a few characters ("and now?"). Tokens are estimated on everything. Linear time: at most
`Rules.read_chars` characters are read at each end. Pure.

The rules contradict each other by design ("analyze" says premium, its table balanced, its length
fast). The first that speaks decides the tier:

1. the caller's own wish, which is final;
2. a word that says a mistake would be serious: premium;
3. more than `premium_above` input tokens: premium;
4. a keyword, in the order of the rules file;
5. the table, where the words give a task type away;
6. the token count.

Then complexity at or above `raise_at` raises the tier by one (fast → balanced → premium).

A learned model, where there is one, adds what to expect of each tier's answer, and names the task
where no word gives it away; it does not overrule a word.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from compass_ray.policy.complexity import scores
from compass_ray.policy.lexicon import Hit, Reading, read
from compass_ray.policy.quality import QualityModel, expect
from compass_ray.policy.rules import Rules, SizeRules
from compass_ray.policy.tokens import input_tokens
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import (
    Accuracy,
    Classification,
    Expectation,
    TaskType,
    Tier,
    Urgency,
)

_URGENCIES: tuple[Urgency, ...] = ("real-time", "batch")
_ACCURACIES: tuple[Accuracy, ...] = ("critical", "exploratory")
_RAISED = {Tier.FAST: Tier.BALANCED, Tier.BALANCED: Tier.PREMIUM}
_TIER_NAMES = {tier: f"{tier.value} ({tier.name.lower()})" for tier in Tier}
_DEFAULT_TASK: TaskType = "simple_qa"
_FENCE = "```"
_TASK_OF_FIELD: Mapping[str, TaskType] = {
    "code": "code",
    "math": "math",
    "reasoning": "reasoning",
    "extraction": "extraction",
    "creative": "creative",
}
"""Fields that are task types; others, such as medicine, are asked about in simple questions."""
_SURE_ENOUGH = 0.8
"""Confidence from which the learned field names the task."""
_WORDS_NAMED = 4


class _Observed(NamedTuple):
    """A request, the words found in it, and its size."""

    request: ChatRequest
    reading: Reading
    found: Mapping[str, Sequence[Hit]]
    tokens: int


def classify(
    request: ChatRequest, rules: Rules, history: int = 1, model: QualityModel | None = None
) -> Classification:
    """Classify `request`; never raises, whatever the text.

    `history` is the score of past answers to requests like this one: 1 good or unknown, 3 poor.
    `reasons` holds every rule that fired, then what decided the tier; its words are the rules'.
    """
    reasons: list[str] = []
    reading = _read(request, rules, reasons)
    seen = _Observed(request, reading, rules.lexicon.find(reading), input_tokens(request))
    graded = scores(reading, seen.found, seen.tokens, history, rules)
    expectation = None if model is None else expect(reading.sample, graded, model)
    recognised = _task(seen, rules, reasons)
    task = recognised or _learned_task(expectation, reasons)
    accuracy = _accuracy(seen, reasons)
    votes = _votes(seen, recognised, accuracy, rules, reasons)
    urgency = _urgency(seen, task, reasons)
    complexity = sum(graded.values()) / len(graded)
    ruled, limit = _output_tokens(seen, task, rules), request.max_output_tokens
    high = [name for name, score in graded.items() if score > 1]
    reasons.append(f"complexity {complexity:.2f}" + (f": {', '.join(high)}" if high else ""))
    return Classification(
        task_type=task,
        tier=_decide(seen, votes[0], complexity, rules, reasons),
        complexity=complexity,
        urgency=urgency,
        input_tokens=seen.tokens,
        expected_output_tokens=ruled if limit is None else min(ruled, limit),
        scores=graded,
        reasons=tuple(reasons),
        accuracy=accuracy,
        expectation=expectation,
        rules=rules.version,
        ruled_output_tokens=ruled,
    )


def _read(request: ChatRequest, rules: Rules, reasons: list[str]) -> Reading:
    text = request.last_user_text
    if len(text) < rules.short_message_chars < len(request.text):
        text = request.text
        reasons.append("short last message: read with the whole conversation")
    reading = read(text, rules.read_chars)
    if not reading.whole:
        reasons.append(f"long text: read {rules.read_chars:,} characters at each end")
    return reading


def _task(seen: _Observed, rules: Rules, reasons: list[str]) -> TaskType | None:
    """Return the task type with the most words, those in the opening twice; None without any."""
    weighed = [
        (-len(hits) - sum([hit.opening for hit in hits]), rules.task_groups[group], hits)
        for group, hits in seen.found.items()
        if group in rules.task_groups
    ]
    best: TaskType | None = None
    if weighed:
        _, (_, best), hits = min(weighed)
        reasons.append(f"task {best}: {_named(hits)}")
    elif _FENCE in seen.reading.sample:
        best = "code"
        reasons.append("task code: a fenced block")
    return best


def _learned_task(expectation: Expectation | None, reasons: list[str]) -> TaskType:
    """Return the task of a request whose words say nothing about it."""
    if expectation is not None and expectation.confidence >= _SURE_ENOUGH:
        learned = _TASK_OF_FIELD.get(expectation.field)
        if learned is not None:
            sure = f"{expectation.confidence:.2f}"
            reasons.append(f"task {learned}: no words of another, learned with confidence {sure}")
            return learned
    reasons.append(f"task {_DEFAULT_TASK}: no words of another")
    return _DEFAULT_TASK


def _accuracy(seen: _Observed, reasons: list[str]) -> Accuracy:
    for accuracy in _ACCURACIES:
        if hits := seen.found.get(f"accuracy {accuracy}"):
            reasons.append(f"accuracy {accuracy}: {_named(hits)}")
            return accuracy
    return "normal"


def _urgency(seen: _Observed, task: TaskType, reasons: list[str]) -> Urgency:
    wished = seen.request.preferences.urgency
    if wished is not None:
        reasons.append(f"urgency {wished}: the caller's wish")
        return wished
    for urgency in _URGENCIES:
        hits = seen.found.get(f"urgency {urgency}")
        if hits and urgency == "batch" and task == "code":
            reasons.append(f"{_named(hits)}: read as a term of code, not as urgency")
        elif hits:
            reasons.append(f"urgency {urgency}: {_named(hits)}")
            return urgency
    return "normal"


def _votes(
    seen: _Observed,
    task: TaskType | None,
    accuracy: Accuracy,
    rules: Rules,
    reasons: list[str],
) -> list[tuple[Tier, str]]:
    """Return what each rule that speaks says, and its name, in the order of precedence."""
    size, bracket = _size(seen.tokens, rules.size)
    reasons.append(f"{bracket}: {_TIER_NAMES[size]}")
    votes: list[tuple[Tier, str]] = []
    if seen.request.preferences.tier is not None:
        votes.append((seen.request.preferences.tier, "the caller's wish"))
    if accuracy == "critical":
        votes.append((Tier.PREMIUM, "critical accuracy"))
    if size is Tier.PREMIUM:
        votes.append((size, "the token count"))
    for n, rule in enumerate(rules.keywords):
        if hits := seen.found.get(f"keyword {n}"):
            votes.append((rule.tier, f"keyword {_named(hits)}"))
            reasons.append(f"keyword {_named(hits)}: {_TIER_NAMES[rule.tier]}")
    if task is not None:
        votes.append((rules.tasks[task].tier, f"the table for {task}"))
    votes.append((size, "the token count"))
    return votes


def _decide(
    seen: _Observed,
    vote: tuple[Tier, str],
    complexity: float,
    rules: Rules,
    reasons: list[str],
) -> Tier:
    tier, decided_by = vote
    raised = _RAISED.get(tier)
    wished = seen.request.preferences.tier is not None
    if raised is None or wished or complexity < rules.complexity.raise_at:
        reasons.append(f"tier {_TIER_NAMES[tier]}, by {decided_by}")
        return tier
    reasons.append(f"tier {_TIER_NAMES[raised]}, by {decided_by}, raised by complexity")
    return raised


def _size(tokens: int, size: SizeRules) -> tuple[Tier, str]:
    if tokens > size.premium_above:
        return Tier.PREMIUM, f"more than {size.premium_above:,} input tokens"
    if tokens < size.fast_below:
        return Tier.FAST, f"fewer than {size.fast_below:,} input tokens"
    if tokens < size.balanced_below:
        return Tier.BALANCED, f"fewer than {size.balanced_below:,} input tokens"
    return Tier.BALANCED, f"{size.balanced_below:,} to {size.premium_above:,} input tokens"


def _output_tokens(seen: _Observed, task: TaskType, rules: Rules) -> int:
    rule = rules.tasks[task]
    return rule.output_tokens + int(rule.output_per_input_token * seen.tokens)


def _named(hits: Iterable[Hit]) -> str:
    entries = [repr(hit.entry) for hit in hits]
    more = len(entries) - _WORDS_NAMED
    return ", ".join(entries[:_WORDS_NAMED]) + (f" and {more} more" if more > 0 else "")
