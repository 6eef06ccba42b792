"""How good a ranking by need for strength is: the field's figures, by one definition each.

Score s = need for the strong model; c = share of calls sent to it, those of the highest score.
PGR(c) = (Q(c) - Q_weak) / (Q_strong - Q_weak), the share of the quality gap that is recovered.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def apgr(score: Floats, strong: Floats, weak: Floats) -> float:
    """Return the integral of PGR over c; 0.5 is chance, NaN where there is no gap to recover.

    Rows of equal score are mixed.
    """
    recovered = _cumulated(score, strong - weak)
    if not recovered[-1]:
        return float("nan")
    return float(np.mean((recovered[1:] + recovered[:-1]) / 2) / recovered[-1])


def s95(
    score: Floats, strong: Floats, weak: Floats, *, dear: Floats, cheap: Floats, always: float
) -> float:
    """Return the share of `always` that is saved at 95 % of the strong model's quality.

    `always` is what calling the strong model each time costs, `dear` what a call costs that ends
    with it, `cheap` one that does not: in a cascade the former holds the weak call too. Negative
    where a cascade costs more than the strong model alone.
    """
    quality = weak.sum() + _cumulated(score, strong - weak)
    cost = cheap.sum() + _cumulated(score, dear - cheap)
    enough = np.flatnonzero(quality >= 0.95 * strong.sum())
    return float(1.0 - cost[enough].min() / always)


def auc(score: Floats, truth: NDArray[np.bool_]) -> float:
    """Return how likely a true row has a higher score than a false one; equal scores count half.

    NaN where all rows are true, or none is.
    """
    wins = np.count_nonzero(truth) * np.count_nonzero(~truth)
    if not wins:
        return float("nan")
    _, place, size = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(size) - (size - 1) / 2)[place]
    least = (count := np.count_nonzero(truth)) * (count + 1) / 2
    return float((ranks[truth].sum() - least) / wins)


def calibration_error(predicted: Floats, truth: Floats, bins: int = 10) -> float:
    """Return the expected calibration error over bins of equal width."""
    number = np.clip((predicted * bins).astype(np.int64), 0, bins - 1)
    gaps = np.bincount(number, predicted - truth, bins)
    return float(np.abs(gaps).sum() / len(predicted))


def _cumulated(score: Floats, values: Floats) -> Floats:
    """Return the sums of the first 0, 1, ... n values by descending score; ties share evenly."""
    order = np.argsort(-score, kind="stable")
    _, place, size = np.unique(-score[order], return_inverse=True, return_counts=True)
    means = np.bincount(place, values[order]) / size
    return np.concatenate(([0.0], np.cumsum(means[place])))
