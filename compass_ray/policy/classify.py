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
"""

from collections.abc import Iterable, Mapping, Sequence

from compass_ray.policy.complexity import scores
from compass_ray.policy.lexicon import Hit, Reading, read
from compass_ray.policy.rules import Rules, SizeRules
from compass_ray.policy.tokens import input_tokens
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Accuracy, Classification, TaskType, Tier, Urgency

_URGENCIES: tuple[Urgency, ...] = ("real-time", "batch")
_ACCURACIES: tuple[Accuracy, ...] = ("critical", "exploratory")
_RAISED = {Tier.FAST: Tier.BALANCED, Tier.BALANCED: Tier.PREMIUM}
_DEFAULT_TASK: TaskType = "simple_qa"
_WORDS_NAMED = 4

Found = Mapping[str, Sequence[Hit]]


def classify(request: ChatRequest, rules: Rules, history: int = 1) -> Classification:
    """Classify `request`; never raises, whatever the text.

    `history` is the score of past answers to requests like this one: 1 good or unknown, 3 poor.
    `reasons` holds every rule that fired, then what decided the tier; its words are the rules'.
    """
    reasons: list[str] = []
    reading = _read(request, rules, reasons)
    found = rules.lexicon.find(reading)
    tokens = input_tokens(request)
    task = _task(reading, found, rules, reasons)
    accuracy = _accuracy(found, reasons)
    tier, decided_by = _stage_one(request, found, tokens, task, accuracy, rules, reasons)
    urgency = _urgency(request, found, task or _DEFAULT_TASK, reasons)
    graded = scores(reading, found, tokens, history, rules)
    complexity = sum(graded.values()) / len(graded)
    tier = _stage_two(request, tier, complexity, graded, decided_by, rules, reasons)
    return Classification(
        task_type=task or _DEFAULT_TASK,
        tier=tier,
        complexity=complexity,
        urgency=urgency,
        input_tokens=tokens,
        expected_output_tokens=_output_tokens(request, task or _DEFAULT_TASK, tokens, rules),
        scores=graded,
        reasons=tuple(reasons),
        accuracy=accuracy,
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


def _task(reading: Reading, found: Found, rules: Rules, reasons: list[str]) -> TaskType | None:
    """Return the task type with the most words, those in the opening twice; None without any."""
    best: TaskType | None = None
    most = 0
    for task in rules.tasks:
        hits = found.get(f"task {task}", ())
        weight = len(hits) + sum(hit.opening for hit in hits)
        if weight > most:
            best, most = task, weight
    if best is None and "```" in reading.sample:
        reasons.append("task code: a fenced block")
        return "code"
    if best is None:
        reasons.append(f"task {_DEFAULT_TASK}: no words of another")
    else:
        reasons.append(f"task {best}: {_named(found[f'task {best}'])}")
    return best


def _accuracy(found: Found, reasons: list[str]) -> Accuracy:
    for accuracy in _ACCURACIES:
        if hits := found.get(f"accuracy {accuracy}"):
            reasons.append(f"accuracy {accuracy}: {_named(hits)}")
            return accuracy
    return "normal"


def _urgency(
    request: ChatRequest, found: Found, task: TaskType, reasons: list[str]
) -> Urgency:
    wished = request.preferences.urgency
    if wished is not None:
        reasons.append(f"urgency {wished}: the caller's wish")
        return wished
    for urgency in _URGENCIES:
        hits = found.get(f"urgency {urgency}")
        if hits and task == "code":
            reasons.append(f"{_named(hits)}: read as a term of code, not as urgency")
        elif hits:
            reasons.append(f"urgency {urgency}: {_named(hits)}")
            return urgency
    return "normal"


def _stage_one(
    request: ChatRequest,
    found: Found,
    tokens: int,
    task: TaskType | None,
    accuracy: Accuracy,
    rules: Rules,
    reasons: list[str],
) -> tuple[Tier, str]:
    """Return the tier and the name of the rule that decided it, in the order of precedence."""
    size, size_says = _size(tokens, rules.size)
    reasons.append(f"{size_says}: {_tier(size)}")
    votes: list[tuple[Tier, str]] = []
    if request.preferences.tier is not None:
        votes.append((request.preferences.tier, "the caller's wish"))
    if accuracy == "critical":
        votes.append((Tier.PREMIUM, "critical accuracy"))
    if size is Tier.PREMIUM:
        votes.append((size, "the token count"))
    for n, rule in enumerate(rules.keywords):
        if hits := found.get(f"keyword {n}"):
            votes.append((rule.tier, f"keyword {_named(hits)}"))
            reasons.append(f"keyword {_named(hits)}: {_tier(rule.tier)}")
    if task is not None:
        votes.append((rules.tasks[task].tier, f"the table for {task}"))
    votes.append((size, "the token count"))
    return votes[0]


def _stage_two(
    request: ChatRequest,
    tier: Tier,
    complexity: float,
    graded: Mapping[str, int],
    decided_by: str,
    rules: Rules,
    reasons: list[str],
) -> Tier:
    high = [name for name, score in graded.items() if score > 1]
    reasons.append(f"complexity {complexity:.2f}" + (f": {', '.join(high)}" if high else ""))
    raised = _RAISED.get(tier)
    wished = request.preferences.tier is not None
    if raised is None or wished or complexity < rules.complexity.raise_at:
        reasons.append(f"tier {_tier(tier)}, by {decided_by}")
        return tier
    reasons.append(f"tier {_tier(raised)}, by {decided_by}, raised by complexity")
    return raised


def _size(tokens: int, size: SizeRules) -> tuple[Tier, str]:
    if tokens > size.premium_above:
        return Tier.PREMIUM, f"more than {size.premium_above:,} input tokens"
    if tokens < size.fast_below:
        return Tier.FAST, f"fewer than {size.fast_below:,} input tokens"
    if tokens < size.balanced_below:
        return Tier.BALANCED, f"fewer than {size.balanced_below:,} input tokens"
    return Tier.BALANCED, f"{size.balanced_below:,} to {size.premium_above:,} input tokens"


def _output_tokens(request: ChatRequest, task: TaskType, tokens: int, rules: Rules) -> int:
    rule = rules.tasks[task]
    expected = rule.output_tokens + int(rule.output_per_input_token * tokens)
    if request.max_output_tokens is None:
        return expected
    return min(expected, request.max_output_tokens)


def _tier(tier: Tier) -> str:
    return f"{tier.value} ({tier.name.lower()})"


def _named(hits: Iterable[Hit]) -> str:
    entries = [repr(hit.entry) for hit in hits]
    more = len(entries) - _WORDS_NAMED
    return ", ".join(entries[:_WORDS_NAMED]) + (f" and {more} more" if more > 0 else "")
