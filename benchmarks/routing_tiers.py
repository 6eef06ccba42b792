"""Three tiers by argmax of expected quality less lambda times expected cost, lambda fixed before.

Expected cost is what the gateway knows as well: a tier's price, and a request's size. It is fitted
to the training rows of a dataset, within which each tier is one model.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing_rows import Floats, Seen, interval
from benchmarks.routing_speed import shipped_endpoints
from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.classify import classify
from compass_ray.policy.columns import RANK
from compass_ray.policy.quality import QualityModel
from compass_ray.policy.rules import Rules as ClassRules
from compass_ray.policy.worth import worth_its_price
from compass_ray.training.asking import asking
from compass_ray.training.rows import STRONG, Rows

Integers = NDArray[np.int64]

TARGET = 0.955
"""Share of premium's quality that lambda is chosen for: the bar of 0.95, and a margin."""
_LAMBDAS = np.concatenate(([0.0], np.geomspace(0.005, 2.0, 120)))
NAMES = ("cheap", "mid", "premium")
EACH = "learned, by the request's own premium cost"


def expected_costs(train: Rows, rows: Rows) -> Floats:
    """Return (n, 3): by dataset and tier, a line through the sizes of prompts; NaN if unknown."""
    costs = np.full(rows.cost.shape, np.nan)
    size, sizes = _sizes(rows), _sizes(train)
    for file in np.unique(rows.file):
        inside, known = rows.file == file, train.file == file
        for rank in range(len(NAMES)):
            usable = known & ~np.isnan(train.cost[:, rank])
            if usable.any():
                design = np.column_stack([np.ones(usable.sum()), sizes[usable]])
                line, *_ = np.linalg.lstsq(design, train.cost[usable, rank])
                low = float(train.cost[usable, rank].min())
                costs[inside, rank] = np.maximum(low, line[0] + line[1] * size[inside])
    return costs


def fixed_lambda(rows: Rows, seen: Seen, costs: Floats) -> float:
    """Return the lambda that saves the most at `TARGET` on rows that the model has not seen."""
    known = _complete(rows, costs)
    if not known.any():
        return 0.0
    best = (-np.inf, 0.0)
    for value in _LAMBDAS:
        choice = _choose(seen.outputs[known], costs[known], value)
        kept, saved = _worth(rows.where(known), choice)
        if kept >= TARGET:
            best = max(best, (saved, float(value)))
    return best[1]


class Gateway:
    """What the gateway asks for, by its own rules and expectations at its catalogue's prices."""

    def __init__(self, rows: Rows, rules: ClassRules, model: QualityModel) -> None:
        self._catalogue = Catalogue(tuple(shipped_endpoints()))
        requests = [asking(text) for text in rows.prompt.tolist()]
        self._seen = [(one, classify(one, rules, model=model)) for one in requests]

    def ranks(self, frugality: float) -> Integers:
        """Return the rank of the tier that each row gets."""
        worth = (worth_its_price(*one, self._catalogue, frugality) for one in self._seen)
        return np.array([RANK[seen.tier] - 1 for seen in worth], np.int64)

    def fixed_frugality(self, rows: Rows) -> float:
        """Return the frugality that saves the most at `TARGET` on rows not learned from."""
        known = ~(np.isnan(rows.quality) | np.isnan(rows.cost)).any(axis=1)
        if not known.any():
            return 0.0
        best = (-np.inf, 0.0)
        for value in _LAMBDAS[::4]:
            kept, saved = _worth(rows.where(known), self.ranks(value)[known])
            if kept >= TARGET:
                best = max(best, (saved, float(value)))
        return best[1]


def measured(
    rows: Rows,
    seen: Seen,
    costs: Floats,
    chosen: float,
    seed: int,
    *,
    gateway: Mapping[str, Integers],
) -> dict[str, dict[str, Any]]:
    """Return the share of premium's quality kept and of its cost saved, by way of choosing.

    `gateway` is what the gateway asks for, by name.
    """
    known = _complete(rows, costs)
    if not known.any():
        return {}
    part, chance = rows.where(known), np.random.default_rng(seed)
    outputs, estimated = seen.outputs[known], costs[known]
    ways: dict[str, Integers] = {
        f"learned, lambda {value:.3g}": _choose(outputs, estimated, value)
        for value in (chosen, chosen / 2, chosen * 2)
    }
    ways[EACH] = _choose(outputs, estimated, chosen, each=True)
    ways |= {name: choice[known] for name, choice in gateway.items()}
    ways |= {f"always {name}": np.full(len(part), rank) for rank, name in enumerate(NAMES)}
    by_strength = np.clip(seen.tiers[known].astype(np.int64) - 1, 0, STRONG)
    ways["rules: tier"] = by_strength
    kept, _ = _worth(part, ways[f"learned, lambda {chosen:.3g}"])
    ways["a coin, premium or mid"] = _coin(part, kept, chance)
    ways["oracle"] = _choose(np.column_stack([part.gain, part.quality]), part.cost, chosen)
    figures = {}
    for name, choice in ways.items():
        quality, saved = _worth(part, choice)
        shares = np.bincount(choice, minlength=len(NAMES)) / len(part)
        figures[name] = {
            "prompts": len(part),
            "quality kept": quality,
            "cost saved": saved,
            "shares": dict(zip(NAMES, shares.tolist(), strict=True)),
        }
    for way in (f"learned, lambda {chosen:.3g}", EACH, *gateway):
        for place, name in enumerate(("quality kept", "cost saved")):
            figures[way][f"{name}, interval"] = interval(
                part, lambda some, at=place, one=ways[way]: _worth(part, one, some)[at], seed
            )
    return figures


def _complete(rows: Rows, costs: Floats) -> NDArray[np.bool_]:
    missing = np.isnan(rows.quality) | np.isnan(rows.cost) | np.isnan(costs)
    return np.asarray(~missing.any(axis=1))


def _choose(outputs: Floats, costs: Floats, value: float, *, each: bool = False) -> Integers:
    """Return the rank of the best tier; lambda is quality for the mean cost of premium.

    With `each`, for premium's cost of the same request.
    """
    share = costs / (costs[:, STRONG][:, None] if each else costs[:, STRONG].mean())
    return np.asarray((outputs[:, 1:] - value * share).argmax(axis=1))


def _worth(rows: Rows, choice: Integers, picked: Integers | None = None) -> tuple[float, float]:
    picked = np.arange(len(rows)) if picked is None else picked
    chosen = choice[picked]
    quality = rows.quality[picked, chosen].sum() / rows.quality[picked, STRONG].sum()
    return float(quality), float(
        1 - rows.cost[picked, chosen].sum() / rows.cost[picked, STRONG].sum()
    )


def _coin(rows: Rows, kept: float, chance: np.random.Generator) -> Integers:
    """Return premium or mid by chance, so often that as much quality is kept."""
    mid, _ = _worth(rows, np.ones(len(rows), np.int64))
    often = np.clip((kept - mid) / max(1e-9, 1 - mid), 0, 1)
    return np.where(chance.random(len(rows)) < often, STRONG, 1).astype(np.int64)


def _sizes(rows: Rows) -> Floats:
    return np.array([float(len(text)) for text in rows.prompt.tolist()])
