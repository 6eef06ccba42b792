"""How long answers to a type of task are, as a multiple of what the rules expect. Pure.

The rules know how an answer grows with its question; what one's own traffic teaches is by how much
they are off. Newer answers count more: the weight of each halves with every `HALF_LIFE` that
follow. Before many have come, the rules are believed as much as `_BELIEF` answers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from compass_ray.types.chat import ChatRequest
from compass_ray.types.decisions import Outcome
from compass_ray.types.routing import Classification

HALF_LIFE = 500
_KEPT = 0.5 ** (1 / HALF_LIFE)
_BELIEF = 20.0
_LEAST, _MOST = 0.05, 20.0
_MOVED = 0.02
"""Share by which a factor has to move for replicas to be told."""


class Length(NamedTuple):
    """Weighted sums over answers: of the answers, of their tokens, and of the rules' tokens."""

    answers: float = 0.0
    tokens: float = 0.0
    ruled: float = 0.0

    @property
    def factor(self) -> float:
        """Return by what the rules' expectation is to be multiplied."""
        if not self.ruled:
            return 1.0
        believed = _BELIEF * self.ruled / self.answers
        factor = (self.tokens + believed) / (self.ruled + believed)
        return min(_MOST, max(_LEAST, factor))


def measured(length: Length, outcome: Outcome) -> Length:
    """Return what is known after one more answer; it says something if it took a single call."""
    if not outcome.endpoint or len(outcome.calls) != 1 or not outcome.ruled_tokens:
        return length
    return Length(
        length.answers * _KEPT + 1,
        length.tokens * _KEPT + outcome.output_tokens,
        length.ruled * _KEPT + outcome.ruled_tokens,
    )


def news(told: Mapping[str, float], known: Mapping[str, Length]) -> Mapping[str, float] | None:
    """Return all factors where one is no longer as it was told; None while all are."""
    factors = {task: length.factor for task, length in known.items()}
    if all(abs(one - told.get(task, 1.0)) <= _MOVED * one for task, one in factors.items()):
        return None
    return factors


def lengthened(
    request: ChatRequest, seen: Classification, factors: Mapping[str, float]
) -> Classification:
    """Return `seen` with as many tokens as answers of its type have been taking."""
    factor = factors.get(seen.task_type)
    if factor is None:
        return seen
    limit = request.max_output_tokens
    expected = round(seen.ruled_output_tokens * factor)
    if limit is not None:
        expected = min(expected, limit)
    reason = f"{expected:,} output tokens: {factor:.2f} times the rules', as answers have been"
    return replace(seen, expected_output_tokens=expected, reasons=(*seen.reasons, reason))
