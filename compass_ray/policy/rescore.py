"""What other weights would have chosen in recorded decisions, and what that would cost. Pure.

Both sides are expectations of the first choice, as they were at the time: what fail-over, other
prompts' caches or a slow day made of it would say nothing about the weights.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from compass_ray.policy.columns import Weights
from compass_ray.policy.learn import Floats
from compass_ray.types.routing import Table

__all__ = ["Comparison", "Expected", "Recorded", "choice", "compare", "reweighted"]

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Recorded:
    """The candidates of one decision, in the order they were tried, and the tier asked for."""

    table: Table
    asked: int | None


@dataclass(frozen=True, slots=True)
class Expected:
    """Means over decisions; `micro_usd` only over those whose prices are known on both sides."""

    micro_usd: float
    seconds: float
    quality: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`moves` counts the changed choices, from one endpoint to another."""

    decisions: int
    free: int
    """Decisions with more than one candidate."""
    priced: int
    """Decisions whose prices are known on both sides."""
    moves: Mapping[tuple[str, str], int]
    before: Expected
    after: Expected

    @property
    def changed(self) -> int:
        """Return how many choices would be others."""
        return sum(self.moves.values())


def reweighted(weights: Weights, named: Mapping[str, float]) -> Weights:
    """Return weights of which some are `named`; the others share the rest as they did before.

    Raises:
        ValueError: there is no such column, or the weights cannot sum to 1.
    """
    known = {one.name: float(getattr(weights, one.name)) for one in fields(Weights)}
    for name, value in named.items():
        if name not in known:
            raise ValueError(f"no column {name!r}: there are {', '.join(known)}")
        if not 0 <= value <= 1:
            raise ValueError(f"the weight of {name} must be from 0 to 1")
    rest = 1 - sum(named.values())
    others = {name: value for name, value in known.items() if name not in named}
    shared = sum(others.values())
    if rest < -_TOLERANCE or (not shared and abs(rest) > _TOLERANCE):
        raise ValueError(f"the weights sum to {sum(named.values()):.6g}, not to 1")
    share = max(0.0, rest) / shared if shared else 0.0
    return Weights(**named, **{name: value * share for name, value in others.items()})


def choice(recorded: Recorded, weights: Weights) -> int:
    """Return the place of the candidate that would be tried first."""
    table = recorded.table
    values = table.scores.astype(np.float64)
    totals = _as_row(weights) @ values[1:6]
    costs = np.nan_to_num(values[6], nan=np.inf)
    places = range(len(table.ids))
    asked = [place for place in places if table.tiers[place] == recorded.asked]
    return min(asked or places, key=lambda place: (-totals[place], costs[place], table.ids[place]))


def compare(decisions: Iterable[Recorded], weights: Weights) -> Comparison:
    """Return what would change; decisions without a candidate say nothing."""
    moves: Counter[tuple[str, str]] = Counter()
    sums = np.zeros((2, 3))
    count = free = priced = 0
    for one in decisions:
        table = one.table
        if not table.ids:
            continue
        count += 1
        free += len(table.ids) > 1
        chosen = choice(one, weights)
        if chosen:
            moves[table.ids[0], table.ids[chosen]] += 1
        sides = table.scores[6:, [0, chosen]].T.astype(np.float64)
        if np.isnan(sides).any():
            sides[:, 0] = 0.0
        else:
            priced += 1
        sums += sides
    before, after = (
        Expected(cost / max(1, priced), seconds / max(1, count), quality / max(1, count))
        for cost, seconds, quality in sums.tolist()
    )
    return Comparison(count, free, priced, dict(moves.most_common()), before, after)


def _as_row(weights: Weights) -> Floats:
    return np.array([getattr(weights, one.name) for one in fields(Weights)])
