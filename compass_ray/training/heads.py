"""Linear heads over hashed n-grams: what they are asked to say, and ridge regression for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from compass_ray.policy import ngrams
from compass_ray.training.rows import MID, STRONG, WEAK, Floats, Mask, Rows

Matrix = NDArray[np.float32]

_PENALTY = np.float32(5.0)
_STEPS = 12
"""Of conjugate gradients; stopping early is a part of the regularisation."""
_PRIOR_ROWS = 10
"""A subject's mean is drawn to its file's as if by so many rows."""
_OWN_HEADS_FROM = 2_000
"""Rows of a file that make it worth heads of its own."""
_FIELD_FROM = 50
"""Rows from which a field is learned; of fewer rows, the most frequent one is."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What each head (m of them) should say for each row, and whether it is asked, (n, m)."""

    values: Matrix
    asked: Matrix
    fields: Sequence[str]
    """The last heads stand for these."""


def vectors(prompts: Sequence[str]) -> sparse.csr_matrix:
    """Return which buckets each prompt fills: (n, 2**BITS) of ones."""
    found = [ngrams.buckets(ngrams.encode(ngrams.sample(prompt))) for prompt in prompts]
    ends = np.cumsum([0, *map(len, found)])
    places = np.concatenate(found).astype(np.int32)
    ones = np.ones(len(places), np.float32)
    return sparse.csr_matrix((ones, places, ends), shape=(len(found), 1 << ngrams.BITS))


def rarity(counts: sparse.csr_matrix) -> Matrix:
    """Return the inverse document frequency of each bucket."""
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.asarray(np.log((1 + counts.shape[0]) / (1 + documents)) + 1, np.float32)


def weighted(counts: sparse.csr_matrix, idf: Matrix) -> sparse.csr_matrix:
    """Return TF-IDF vectors of length one."""
    scaled = counts @ sparse.diags(idf)
    lengths = np.sqrt(np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel())
    return (sparse.diags(1 / np.maximum(lengths, 1e-9)) @ scaled).tocsr().astype(np.float32)


def targets(rows: Rows, known: Mask) -> Targets:
    """Return what the heads should say; means are taken over the rows that are `known`.

    The mean of a subject is a far less noisy label than one outcome, and nearly as telling.
    """
    gain, quality = rows.gain, rows.quality
    by_subject, by_file = _means(gain, rows, known)
    asked_always = np.ones(len(rows))
    columns = [by_subject, by_subject - by_file, gain - by_file]
    columns += [_means(quality[:, rank], rows, known)[0] for rank in (STRONG, WEAK, MID)]
    columns += [gain, quality[:, STRONG], quality[:, WEAK], rows.ease]
    asked = [asked_always] * len(columns)
    for file in np.unique(rows.file):
        inside = rows.file == file
        if np.count_nonzero(inside) >= _OWN_HEADS_FROM:
            columns += [by_subject, gain]
            asked += [inside.astype(float)] * 2
    for file in np.unique(rows.file):
        columns.append((rows.file == file).astype(float))
        asked.append(asked_always)
    fields, sizes = np.unique(rows.field, return_counts=True)
    fields = fields[sizes >= min(_FIELD_FROM, sizes.max())]
    columns += [(rows.field == field).astype(float) for field in fields]
    asked += [asked_always] * len(fields)
    values = np.column_stack(columns)
    mask = np.column_stack(asked) * ~np.isnan(values)
    return Targets(
        np.nan_to_num(values).astype(np.float32), mask.astype(np.float32), fields.tolist()
    )


def solve(features: sparse.csr_matrix, wanted: Targets, rows: Mask) -> tuple[Matrix, Matrix]:
    """Return weights (buckets, m) and offsets (m,) by ridge regression over `rows`.

    All heads at once by conjugate gradients on the normal equations, each over the rows that it
    is asked about.
    """
    x = features[rows]
    transposed = x.T.tocsr()
    asked = wanted.asked[rows]
    offsets = (wanted.values[rows] * asked).sum(0) / np.maximum(asked.sum(0), 1)
    residual = transposed @ (asked * (wanted.values[rows] - offsets))
    weights = np.zeros_like(residual)
    direction = residual.copy()
    size = (residual * residual).sum(0)
    for _ in range(_STEPS):
        image = transposed @ (asked * (x @ direction)) + _PENALTY * direction
        step = size / np.maximum((direction * image).sum(0), 1e-30)
        weights += step * direction
        residual -= step * image
        following = (residual * residual).sum(0)
        direction = residual + following / np.maximum(size, 1e-30) * direction
        size = following
    return weights, offsets


def _means(values: Floats, rows: Rows, known: Mask) -> tuple[Floats, Floats]:
    """Return each row's mean by subject, drawn to its file's, and the latter; NaN without any."""
    usable = known & ~np.isnan(values)
    if not usable.any():
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    overall = values[usable].mean()
    by_file = np.full(len(rows), overall)
    by_subject = np.full(len(rows), overall)
    for file in np.unique(rows.file):
        inside = rows.file == file
        if (inside & usable).any():
            by_file[inside] = values[inside & usable].mean()
    for subject in np.unique(rows.subject):
        inside = rows.subject == subject
        picked = values[inside & usable]
        prior = by_file[inside][0]
        by_subject[inside] = (picked.sum() + _PRIOR_ROWS * prior) / (len(picked) + _PRIOR_ROWS)
    return by_subject, by_file
