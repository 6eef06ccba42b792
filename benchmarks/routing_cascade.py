"""A cascade: ask a cheaper model first, let an evaluator look at the answer, escalate if need be.

The data hold no texts of answers. What an evaluator can see of an answer is its length in tokens,
and of two answers whether they agree; with the prompt, that is what it learns from. One that reads
the answer would know more. Datasets whose answers' lengths were made up are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing_rows import Floats, Seen, interval
from compass_ray.policy.trees import Forest
from compass_ray.training.boost import Boosting, boost
from compass_ray.training.measure import s95
from compass_ray.training.rows import MID, STRONG, WEAK, Mask, Rows

_FEWEST = 200
"""Rows from which an evaluator is learned."""
_FEWEST_LENGTHS = 20
_HOW = Boosting(trees=150, depth=4, rate=0.06, penalty=30.0, importance=(1.0, 0.5))
FIRST = {"cheap": (WEAK,), "mid": (MID,), "cheap and mid": (WEAK, MID)}
"""Whose answers are there before anything is escalated; the last one's is the answer."""


def judged(rows: Rows) -> Mask:
    """Return the rows whose answers have a real length, of cheap and mid alike."""
    known = ~np.isnan(rows.answer_tokens).any(axis=1)
    known &= ~np.isnan(rows.quality).any(axis=1) & ~np.isnan(rows.cost).any(axis=1)
    for file in np.unique(rows.file):
        inside = rows.file == file
        lengths = rows.answer_tokens[inside & known, WEAK]
        if len(np.unique(lengths)) < _FEWEST_LENGTHS:
            known[inside] = False
    return np.asarray(known)


def evaluators(rows: Rows, seen: Seen, seed: int) -> dict[str, Forest]:
    """Learn one for each way to begin; none where too few answers have a length."""
    if np.count_nonzero(judged(rows)) < _FEWEST:
        return {}
    return {name: _evaluator(rows, seen, first, seed) for name, first in FIRST.items()}


def measured(
    rows: Rows, seen: Seen, costs: Floats, forests: Mapping[str, Forest], seed: int
) -> dict[str, dict[str, Any]]:
    """Return S95 by dataset: of the cascades, and of plain routers on the same rows."""
    known = judged(rows)
    part, dear = rows.where(known), np.maximum(1e-9, costs[known, STRONG])
    outputs, chance = seen.outputs[known], np.random.default_rng(seed).random(len(part))
    ways = {
        "router, cheap or premium": _Way((), WEAK, outputs[:, 0] / dear),
        "router, mid or premium": _Way((), MID, (outputs[:, 3] - outputs[:, 2]) / dear),
        "chance, mid or premium": _Way((), MID, chance),
    }
    for name, forest in forests.items():
        evidence = _evidence(part, seen, known, FIRST[name]).astype(np.float32)
        better = np.array([forest.predict(values)[0] for values in evidence], np.float64)
        ways[f"cascade, {name} first"] = _Way(FIRST[name], FIRST[name][-1], better / dear)
    figures: dict[str, dict[str, Any]] = {}
    for file in np.unique(part.file).tolist():
        inside = np.flatnonzero(part.file == file)
        figures[file] = {
            name: _figures(part.where(inside), _Way(way.paid, way.answer, way.score[inside]), seed)
            for name, way in ways.items()
        }
    return figures


@dataclass(frozen=True, slots=True)
class _Way:
    """Whose calls are paid in any case, whose answer is given, and the order of escalation."""

    paid: Sequence[int]
    answer: int
    score: Floats


def _evaluator(rows: Rows, seen: Seen, first: Sequence[int], seed: int) -> Forest:
    """Learn how much better premium's answer would be than the one at hand, and how good it is."""
    known = judged(rows)
    part = rows.where(known)
    at_hand = part.quality[:, first[-1]]
    y = np.column_stack([part.quality[:, STRONG] - at_hand, at_hand])
    return boost(_evidence(part, seen, known, first), y, np.ones_like(y), _HOW, seed)


def _figures(rows: Rows, way: _Way, seed: int) -> dict[str, Any]:
    paid = rows.cost[:, list(way.paid)].sum(axis=1)
    strong, at_hand = rows.quality[:, STRONG], rows.quality[:, way.answer]
    alone = rows.cost[:, STRONG]
    cheap = paid if way.paid else rows.cost[:, way.answer]

    def of(picked: NDArray[np.int64]) -> float:
        return s95(
            way.score[picked],
            strong[picked],
            at_hand[picked],
            dear=(paid + alone)[picked],
            cheap=cheap[picked],
            always=float(alone[picked].sum()),
        )

    return {
        "prompts": len(rows),
        "s95": of(np.arange(len(rows))),
        "interval": interval(rows, of, seed),
        "auc": _auc(way.score, at_hand < 0.5),
    }


def _evidence(part: Rows, seen: Seen, known: Mask, first: Sequence[int]) -> Floats:
    """Return what is known once the answers are there; `part` are the rows that `known` picks.

    Two answers are compared. The data tell whether each is right, not what it says: two that are
    both wrong are taken to agree, which is the worst case for the evaluator.
    """
    lengths = np.log1p(part.answer_tokens[:, list(first)])
    asked = np.log1p(np.array([float(len(text)) for text in part.prompt.tolist()]))
    right = part.quality[:, list(first)] >= 0.5
    disagree = (right != right[:, :1]).any(axis=1, keepdims=True)
    return np.column_stack(
        [seen.features[known], seen.outputs[known], lengths, lengths - asked[:, None], disagree]
    )


def _auc(score: Floats, positive: Mask) -> float:
    """Return how often a poor answer is ranked above a good one."""
    order = np.argsort(score, kind="stable")
    ranks = np.empty(len(score))
    ranks[order] = np.arange(1, len(score) + 1)
    count = int(positive.sum())
    others = len(score) - count
    if not count or not others:
        return float("nan")
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))
