"""Gradient boosting of symmetric trees with several outputs, on squared errors.

Squared errors of outcomes between 0 and 1 make the predictions probabilities, as the Brier score
does. All outputs share the questions, so each helps the others to find them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy.trees import Forest

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Boosting:
    """How much is learned from the same rows; the defaults were chosen by cross-validation."""

    trees: int = 250
    depth: int = 6
    rate: float = 0.04
    penalty: float = 100.0
    """Rows that each leaf is drawn to zero by."""
    bins: int = 32
    share_of_features: float = 0.2
    share_of_rows: float = 0.7
    importance: Sequence[float] = (1.0, 0.5, 0.5, 0.5)
    """How much each output counts in the choice of questions."""


def boost(x: Floats, y: Floats, known: Floats, how: Boosting, seed: int) -> Forest:
    """Fit a forest that maps x (n, f) to y (n, k); `known` (n, k) is 0 where y is not."""
    chance = np.random.default_rng(seed)
    x = x.astype(np.float32)
    edges = [np.unique(np.quantile(column, _shares(how.bins))).astype(np.float32) for column in x.T]
    binned = np.stack(
        [np.searchsorted(cuts, column) for cuts, column in zip(edges, x.T, strict=True)]
    )
    y = np.nan_to_num(y)
    start = (y * known).sum(0) / np.maximum(known.sum(0), 1)
    predicted = np.tile(start, (len(x), 1))
    questions: list[list[tuple[int, int]]] = []
    tables: list[Floats] = []
    for _ in range(how.trees):
        rows = np.flatnonzero(chance.random(len(x)) < how.share_of_rows)
        columns = chance.permutation(x.shape[1])[: max(1, int(how.share_of_features * x.shape[1]))]
        error = (y - predicted) * known
        asked, leaf = _grow(
            binned, edges, error=error, known=known, rows=rows, columns=columns, how=how
        )
        table = how.rate * _leaves(leaf[rows], error[rows], known[rows], how)
        predicted += table[leaf]
        questions.append(asked)
        tables.append(table)
    return Forest(
        features=np.array([[column for column, _ in asked] for asked in questions], np.int64),
        thresholds=np.array(
            [[edges[column][cut] for column, cut in asked] for asked in questions], np.float32
        ),
        leaves=np.concatenate(tables).astype(np.float32),
        start=start.astype(np.float32),
    )


def _shares(bins: int) -> Floats:
    return np.linspace(0, 1, bins + 1)[1:-1]


def _grow(
    binned: Integers,
    edges: Sequence[NDArray[np.float32]],
    *,
    error: Floats,
    known: Floats,
    rows: Integers,
    columns: Integers,
    how: Boosting,
) -> tuple[list[tuple[int, int]], Integers]:
    """Return the questions (column, cut) of one tree, and the leaf of every row."""
    leaf = np.zeros(binned.shape[1], np.int64)
    asked: list[tuple[int, int]] = []
    wanted = [n for n, weight in enumerate(how.importance) if weight]
    for level in range(how.depth):
        best = (-np.inf, int(columns[0]), 0)
        for column in columns:
            cuts = len(edges[column])
            if not cuts:
                continue
            key = leaf[rows] * how.bins + binned[column, rows]
            gain = np.zeros(cuts)
            for output in wanted:
                sums = _running(key, error[rows, output], level, how.bins)
                counts = _running(key, known[rows, output], level, how.bins)
                gain += how.importance[output] * _explained(sums, counts, how.penalty)[:cuts]
            cut = int(gain.argmax())
            best = max(best, (float(gain[cut]), int(column), cut))
        _, column, cut = best
        asked.append((column, cut))
        leaf += (binned[column] > cut).astype(np.int64) << level
    return asked, leaf


def _running(key: Integers, values: Floats, level: int, bins: int) -> Floats:
    """Return sums of `values` up to each bin, by leaf: (2**level, bins)."""
    size = (1 << level) * bins
    return np.bincount(key, values, size).reshape(-1, bins).cumsum(axis=1)


def _explained(sums: Floats, counts: Floats, penalty: float) -> Floats:
    """Return by how much the squared error falls when all leaves are cut at a bin."""
    all_sums, all_counts = sums[:, -1:], counts[:, -1:]
    below = sums * sums / (counts + penalty)
    above = (all_sums - sums) ** 2 / (all_counts - counts + penalty)
    return np.asarray((below + above).sum(axis=0))


def _leaves(leaf: Integers, error: Floats, known: Floats, how: Boosting) -> Floats:
    size = 1 << how.depth
    sums = np.stack([np.bincount(leaf, column, size) for column in error.T], axis=1)
    counts = np.stack([np.bincount(leaf, column, size) for column in known.T], axis=1)
    return np.asarray(sums / (counts + how.penalty))
