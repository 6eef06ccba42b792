"""Rankings by need for strength, and what each is worth by dataset and pooled."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.routing_rows import Floats, Seen, interval
from compass_ray.training.measure import apgr, s95
from compass_ray.training.rows import STRONG, WEAK, Rows

POOLED = "pooled"
_PRIOR_ROWS = 5


def baselines(train: Rows, test: Rows, seen: Seen, seed: int) -> dict[str, Floats]:
    """Return the rankings that learn nothing of prompts, and the bounds that no router reaches."""
    gain = train.gain
    means = {}
    for subject in np.unique(train.subject):
        picked = gain[train.subject == subject]
        prior = _PRIOR_ROWS * gain.mean()
        means[subject] = (picked.sum() + prior) / (len(picked) + _PRIOR_ROWS)
    return {
        "random": np.random.default_rng(seed).random(len(test)),
        "prompt length": np.array([float(len(text)) for text in test.prompt.tolist()]),
        "rules: tier": seen.tiers,
        "rules: complexity": seen.complexity,
        "perfect label": np.array([means.get(one, gain.mean()) for one in test.subject.tolist()]),
        "oracle": test.gain,
    }


def ranked(rows: Rows, score: Floats, seed: int) -> dict[str, dict[str, Any]]:
    """Return APGR with its interval, and S95 of a plain router, pooled and by dataset."""
    figures = {}
    for name in (POOLED, *np.unique(rows.file).tolist()):
        inside = np.flatnonzero((rows.file == name) | (name == POOLED))
        part, scored = rows.where(inside), score[inside]
        strong, weak = part.quality[:, STRONG], part.quality[:, WEAK]
        dear, cheap = part.cost[:, STRONG], part.cost[:, WEAK]

        def of(picked: Any, scored=scored, strong=strong, weak=weak) -> float:  # noqa: ANN001
            return apgr(scored[picked], strong[picked], weak[picked])

        figures[name] = {
            "prompts": len(part),
            "apgr": of(np.arange(len(part))),
            "interval": interval(part, of, seed),
            "s95": s95(scored, strong, weak, dear=dear, cheap=cheap, always=float(dear.sum())),
        }
    return figures


def curve(rows: Rows, score: Floats, points: int = 100) -> dict[str, list[float]]:
    """Return cost and quality as shares of always-strong's, while more goes to the strong model."""
    order = np.argsort(-score, kind="stable")
    strong, weak = rows.quality[order, STRONG], rows.quality[order, WEAK]
    dear, cheap = rows.cost[order, STRONG], rows.cost[order, WEAK]
    quality = weak.sum() + np.concatenate(([0.0], np.cumsum(strong - weak)))
    cost = cheap.sum() + np.concatenate(([0.0], np.cumsum(dear - cheap)))
    picked = np.linspace(0, len(rows), points + 1).astype(np.int64)
    return {
        "cost": (cost[picked] / dear.sum()).tolist(),
        "quality": (quality[picked] / strong.sum()).tolist(),
    }


def table(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the rankings as lines of text."""
    names = list(next(iter(figures.values())))
    lines = [f"{'APGR':<22}" + "".join(f"{name[:12]:>20}" for name in names)]
    for ranker, by_name in figures.items():
        cells = [
            f"{one['apgr']:.3f} [{one['interval'][0]:.2f}, {one['interval'][1]:.2f}]"
            for one in by_name.values()
        ]
        lines.append(f"{ranker:<22}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)
