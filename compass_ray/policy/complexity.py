"""Stage 2: six scores from 1 to 3 whose mean is the complexity of a request. Pure.

| score | 1 | 3 |
|---|---|---|
| sentence_structure | short sentences | long ones (tokens a sentence, so that scripts compare) |
| technical_density | few listed terms | many, or source code in fences |
| multi_step | nothing announces a step | several step words or numbered lines |
| domain | general | legal, medical: as the rules say |
| history | good, or none yet | poor |
| context | short | long (input tokens) |
"""

import re
from collections.abc import Mapping, Sequence

from compass_ray.policy.lexicon import Hit, Reading
from compass_ray.policy.rules import Rules
from compass_ray.policy.tokens import tokens_of

_ENDS = (". ", "? ", "! ", "\n")
_ENDS_ELSEWHERE = ("。", "\uff1f", "\uff01", "।", "؟ ", "။", "።")
_NUMBERED_LINE = re.compile(r"\n[ \t]{0,8}\d{1,3}[.)][ \t]")
_FENCE = "```"
_SPECIFIC_WORDS = 2
_FEWEST_WORDS = 20
"""A share of fewer words would be chance."""


def scores(
    reading: Reading,
    found: Mapping[str, Sequence[Hit]],
    input_tokens: int,
    history: int,
    rules: Rules,
) -> dict[str, int]:
    """Return the six scores; `history` is 1 (good, or none) to 3 (poor)."""
    limits = rules.complexity
    sample = reading.sample
    technical = sum(map(rules.technical.__contains__, reading.words))
    steps = len(found.get("steps", ())) + len(_NUMBERED_LINE.findall(sample))
    return {
        "sentence_structure": _grade(_tokens_per_sentence(sample), limits.sentence_tokens),
        "technical_density": 3
        if _FENCE in sample
        else _grade(technical / max(_FEWEST_WORDS, len(reading.words)), limits.technical_share),
        "multi_step": _grade(steps, limits.steps),
        "domain": max((_domain(name, found, rules) for name in rules.domains), default=1),
        "history": history,
        "context": _grade(input_tokens, limits.context_tokens),
    }


def _grade(value: float, limits: tuple[float, float]) -> int:
    return 1 + (value >= limits[0]) + (value >= limits[1])


def _tokens_per_sentence(sample: str) -> float:
    sentences = sum(map(sample.count, _ENDS))
    if not sample.isascii():
        sentences += sum(map(sample.count, _ENDS_ELSEWHERE))
    return tokens_of(sample) / max(1, sentences + (not sample.endswith("\n")))


def _domain(name: str, found: Mapping[str, Sequence[Hit]], rules: Rules) -> int:
    hits = found.get(f"domain {name}", ())
    if len(hits) >= _SPECIFIC_WORDS:
        return rules.domains[name].score
    return min(2, rules.domains[name].score) if hits else 1
