"""From outcomes to a quality model: heads, their out-of-fold answers, trees on top of these."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from compass_ray.policy import ngrams
from compass_ray.policy.classify import classify
from compass_ray.policy.quality import SCORES, QualityModel, taught
from compass_ray.policy.rules import Rules
from compass_ray.policy.shape import shape
from compass_ray.policy.trees import Forest
from compass_ray.training.asking import asking
from compass_ray.training.boost import Boosting, boost
from compass_ray.training.heads import Matrix, rarity, solve, targets, vectors, weighted
from compass_ray.training.rows import MID, STRONG, WEAK, Floats, Rows, folds

_FOLDS = 3
_WIDEST = 127
_LEAST_SPREAD = 1e-3
"""A feature that hardly differed in training says little when it does."""
_SHARPNESS = np.geomspace(1, 64, 25)


def fit(
    rows: Rows,
    rules: Rules,
    seed: int,
    provenance: Mapping[str, object] | None = None,
    how: Boosting | None = None,
) -> QualityModel:
    """Learn a quality model; the same rows, rules and seed give the same model.

    A mid tier that is nowhere known is taken to lie between the others.

    The trees learn from what heads say about rows they have not seen, as they will have to. All
    of it takes about half a minute for 20,000 prompts on one core.
    """
    idf, x = _vectors(rows)
    everything = np.ones(len(rows), np.bool_)
    unseen = _out_of_fold(x, rows, seed)
    wanted = targets(rows, everything)
    weights, offsets = solve(x, wanted, everything)
    values = np.column_stack([unseen, np.stack([plain(text, rules) for text in rows.prompt])])
    quality = rows.quality
    middle = quality[:, MID]
    if np.isnan(middle).all():
        middle = (quality[:, WEAK] + quality[:, STRONG]) / 2
    y = np.column_stack([rows.gain, quality[:, WEAK], middle, quality[:, STRONG]])
    inputs = values.astype(np.float32)
    forest = boost(values, y, (~np.isnan(y)).astype(float), how or Boosting(), seed)
    means, spreads = scale(inputs, forest)
    field_heads = np.arange(len(offsets) - len(wanted.fields), len(offsets))
    stored, scales = _as_bytes(weights * idf[:, None])
    return QualityModel(
        weights=stored,
        scales=scales,
        offsets=offsets.astype(np.float32),
        rarity=idf**2,
        fields=tuple(wanted.fields),
        field_heads=field_heads,
        sharpness=_sharpness(unseen[:, field_heads], wanted.values[:, field_heads]),
        forest=forest,
        means=means,
        spreads=spreads,
        provenance=provenance or {},
    )


def scale(values: NDArray[np.float32], forest: Forest) -> tuple[Floats, Floats]:
    """Return mean and spread of what feedback is learned by, over texts with these features."""
    inputs = np.array([taught(row, forest.predict(row)) for row in values], np.float64)
    return inputs.mean(axis=0), np.maximum(inputs.std(axis=0), _LEAST_SPREAD)


def plain(text: str, rules: Rules) -> Floats:
    """Return what is known of a text without any model: its shape, and its scores of stage 2."""
    scores = classify(asking(text), rules).scores
    seen = shape(ngrams.encode(ngrams.sample(text)))
    return np.concatenate((seen, [scores[name] for name in SCORES]))


def _vectors(rows: Rows) -> tuple[Matrix, sparse.csr_matrix]:
    counts = vectors(rows.prompt.tolist())
    idf = rarity(counts)
    return idf, weighted(counts, idf)


def _out_of_fold(x: sparse.csr_matrix, rows: Rows, seed: int) -> Matrix:
    """Return what the heads (n, m) say about each row when they have not learned from its fold."""
    fold = folds(rows, _FOLDS, seed)
    said: list[tuple[NDArray[np.bool_], Matrix]] = []
    for number in range(_FOLDS):
        held_out = fold == number
        wanted = targets(rows, ~held_out)
        weights, offsets = solve(x, wanted, ~held_out)
        said.append((held_out, x[held_out] @ weights + offsets))
    unseen = np.zeros((len(rows), said[0][1].shape[1]), np.float32)
    for held_out, heads in said:
        unseen[held_out] = heads
    return unseen


def _as_bytes(weights: Matrix) -> tuple[NDArray[np.int8], Matrix]:
    scales = np.abs(weights).max(axis=0) / _WIDEST
    scales[scales == 0] = 1
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)


def _sharpness(heads: Matrix, truth: Matrix) -> float:
    """Return the factor that makes the heads' softmax the most likely, of rows with a field."""
    with_field = truth.sum(axis=1) > 0
    heads, truth = heads[with_field], truth[with_field]

    def likelihood(factor: float) -> float:
        exponents = factor * (heads - heads.max(axis=1, keepdims=True))
        logs = exponents - np.log(np.exp(exponents).sum(axis=1, keepdims=True))
        return float((logs * truth).sum())

    return float(max(_SHARPNESS, key=likelihood))
