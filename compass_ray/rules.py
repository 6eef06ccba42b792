"""Reading the rules file: YAML text in, checked `Rules` out, or an error that names the line."""

import hashlib
from importlib import resources
from pathlib import Path
from typing import TypeVar, get_args

from compass_ray.located import Located, compose
from compass_ray.policy.lexicon import normal_form
from compass_ray.policy.rules import (
    ComplexityRules,
    DomainRule,
    KeywordRule,
    Rules,
    SizeRules,
    TaskRule,
)
from compass_ray.types.routing import TIERS, Accuracy, ChatTask, TaskType, Urgency
from compass_ray.types.settings import RulesFile

_TASKS: tuple[TaskType, ...] = get_args(ChatTask)
_URGENCIES: dict[str, Urgency] = {"real-time": "real-time", "batch": "batch"}
_ACCURACIES: dict[str, Accuracy] = {"critical": "critical", "exploratory": "exploratory"}
K = TypeVar("K")

_MANY = 10_000_000
_MOST_READ = 65_536
_SCORES = {"1": 1, "2": 2, "3": 3}
_MOST_BYTES = 1024 * 1024


def shipped_rules() -> Rules:
    """Return the rules that come with the package."""
    file = resources.files("compass_ray") / "data" / "rules.yaml"
    return parse_rules(file.read_text(encoding="utf-8"), file="compass_ray/data/rules.yaml")


def chosen_rules(own: RulesFile | None) -> Rules:
    """Return the operator's rules, without any those that come with the package.

    Raises:
        ConfigError: as `parse_rules`.
    """
    return shipped_rules() if own is None else parse_rules(own.text, own.name)


def read_rules(file: Path) -> str:
    """Return the text of a rules file; of one that is absurdly long its beginning.

    Raises:
        OSError, UnicodeDecodeError
    """
    with file.open("rb") as opened:
        return opened.read(_MOST_BYTES).decode("utf-8")


def parse_rules(text: str, file: str) -> Rules:
    """Read and check a rules file; `file` is named in errors.

    Raises:
        ConfigError: not YAML, a key is missing, unknown or twice, a value is wrong.
    """
    top = compose(text, file).mapping(
        required=(
            *("read_chars", "short_message_chars", "size", "complexity", "keywords", "urgency"),
            *("accuracy", "tasks", "domains", "technical", "steps"),
        ),
        optional=("ignored",),
    )
    return Rules(
        read_chars=top["read_chars"].integer(256, _MOST_READ),
        short_message_chars=top["short_message_chars"].integer(0, 4096),
        size=_size(top["size"]),
        complexity=_complexity(top["complexity"]),
        keywords=tuple(_keyword(item) for item in top["keywords"].items()),
        urgency=_named_words(top["urgency"], _URGENCIES),
        accuracy=_named_words(top["accuracy"], _ACCURACIES),
        tasks=_tasks(top["tasks"]),
        domains={name: _domain(place) for name, place in top["domains"].mapping().items()},
        technical=frozenset(_single_words(top["technical"])),
        step_words=_words(top["steps"]),
        ignored=_words(top["ignored"]) if "ignored" in top else (),
        version=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def _size(place: Located) -> SizeRules:
    names = ("fast_below", "balanced_below", "premium_above")
    fields = place.mapping(required=names)
    fast, balanced, premium = (fields[name].integer(0, _MANY) for name in names)
    if not fast <= balanced <= premium:
        raise place.error("must rise: fast_below, balanced_below, premium_above")
    return SizeRules(fast, balanced, premium)


def _complexity(place: Located) -> ComplexityRules:
    pairs = ("sentence_tokens", "technical_share", "steps", "context_tokens")
    fields = place.mapping(required=("raise_at", *pairs))
    return ComplexityRules(
        fields["raise_at"].number(1, 4), *(_rising_pair(fields[name]) for name in pairs)
    )


def _rising_pair(place: Located) -> tuple[float, float]:
    values = [item.number(0, _MANY) for item in place.items()]
    if len(values) != 2 or values[0] > values[1]:  # noqa: PLR2004  # a pair is two
        raise place.error("must be two numbers, the least for score 2 and for score 3")
    return values[0], values[1]


def _keyword(place: Located) -> KeywordRule:
    fields = place.mapping(required=("tier", "words"))
    return KeywordRule(fields["tier"].choice(TIERS), _words(fields["words"]))


def _named_words(place: Located, names: dict[str, K]) -> dict[K, tuple[str, ...]]:
    fields = place.mapping(required=names)
    return {value: _words(fields[name]) for name, value in names.items()}


def _tasks(place: Located) -> dict[TaskType, TaskRule]:
    fields = place.mapping(required=_TASKS)
    names = {name: name for name in _TASKS}
    return {names[name]: _task(child) for name, child in fields.items()}  # type: ignore[index]


def _task(place: Located) -> TaskRule:
    fields = place.mapping(
        required=("tier", "output_tokens", "words"), optional=("output_per_input_token",)
    )
    ratio = fields.get("output_per_input_token")
    return TaskRule(
        tier=fields["tier"].choice(TIERS),
        words=_words(fields["words"]),
        output_tokens=fields["output_tokens"].integer(0, _MANY),
        output_per_input_token=ratio.number(0, 100) if ratio else 0.0,
    )


def _domain(place: Located) -> DomainRule:
    fields = place.mapping(required=("score", "words"))
    return DomainRule(fields["score"].choice(_SCORES), _words(fields["words"]))


def _words(place: Located) -> tuple[str, ...]:
    return tuple(_word(item) for item in place.items())


def _word(place: Located) -> str:
    normal = normal_form(place.text())
    if len(normal) < 2:  # noqa: PLR2004  # "c++" would be looked up as "c"
        raise place.error(f"{place.text()!r} would match {normal!r}: too short to mean anything")
    return normal


def _single_words(place: Located) -> tuple[str, ...]:
    words = _words(place)
    for item, word in zip(place.items(), words, strict=True):
        if " " in word:
            raise item.error(f"{word!r} must be a single word: each is counted")
    return words
