"""Rows of outcomes seen through the product's own code, and how they are split and resampled."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy.classify import classify
from compass_ray.policy.columns import RANK
from compass_ray.policy.quality import QualityModel, features
from compass_ray.policy.rules import Rules
from compass_ray.training.asking import asking
from compass_ray.training.rows import Rows, folds

Floats = NDArray[np.float64]

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """What the product says about n prompts.

    `features` (n, f) are the model's inputs, `outputs` (n, 4) what its trees predict: need, fast,
    balanced, premium. `fields` are those named; `complexity` and `tiers` (1 to 3) are the rules'.
    """

    features: Floats
    outputs: Floats
    fields: NDArray[np.str_]
    complexity: Floats
    tiers: Floats


def look(rows: Rows, rules: Rules, model: QualityModel) -> Seen:
    """Classify every prompt as the gateway does."""
    values, outputs, fields, complexity, tiers = [], [], [], [], []
    for text in rows.prompt.tolist():
        seen = classify(asking(text), rules, model=model)
        found = features(text, seen.scores, model)
        values.append(found)
        outputs.append(model.forest.predict(found))
        fields.append("" if seen.expectation is None else seen.expectation.field)
        complexity.append(seen.complexity)
        tiers.append(RANK[seen.tier])
    return Seen(
        np.array(values, np.float64),
        np.array(outputs, np.float64),
        np.array(fields),
        np.array(complexity),
        np.array(tiers, np.float64),
    )


def without(rows: Rows, others: Rows) -> Rows:
    """Return the rows whose prompts, letters and digits alone, are not among the others'."""
    known = {_plain(text) for text in others.prompt.tolist()}
    return rows.where(np.array([_plain(text) not in known for text in rows.prompt.tolist()]))


def halves(rows: Rows, share: int, seed: int) -> tuple[Rows, Rows]:
    """Return all rows but one part in `share`, and that part; no group is in both."""
    chosen = folds(rows, share, seed) == 0
    return rows.where(~chosen), rows.where(chosen)


def interval(rows: Rows, figure: Callable[[NDArray[np.int64]], float], seed: int) -> list[float]:
    """Return the 95 % interval of a figure of row numbers, by bootstrap over groups."""
    _, group = np.unique(rows.group, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 2))
    chance = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES):
        drawn = chance.integers(0, len(starts) - 1, len(starts) - 1)
        sizes = starts[drawn + 1] - starts[drawn]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        values.append(figure(order[np.repeat(starts[drawn], sizes) + within]))
    return [float(bound) for bound in np.nanquantile(values, (0.025, 0.975))]


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))
