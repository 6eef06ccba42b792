"""From samples to figures: percentiles of a round, medians over rounds, ratios, bars.

Pure: no clock, no I/O. A ratio or difference of two systems is taken within a round, where both
saw the same machine, and only then its median over the rounds.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Rounds = Sequence[Mapping[str, Mapping[str, Mapping[str, float]]]]
"""Per round: system → scenario → figure → value."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise and what was measured; `limit` is an upper one unless `at_least`."""

    text: str
    measured: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the measured value keeps the promise."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest sample not exceeded by `share` of all.

    Raises:
        ValueError: there is no sample.
    """
    if not samples:
        raise ValueError("no sample")
    rank = math.ceil(share * len(samples))
    return sorted(samples)[max(rank, 1) - 1]


def median_over(rounds: Rounds, system: str, scenario: str, figure: str) -> float | None:
    """Return a figure's median over the rounds; None where it was not measured."""
    values = [
        value
        for each in rounds
        if (value := each.get(system, {}).get(scenario, {}).get(figure)) is not None
    ]
    return statistics.median(values) if values else None


def added(rounds: Rounds, system: str, base: str, scenario: str, figure: str) -> float:
    """Return how much more than `base` a system takes: the median of the rounds' differences."""
    return statistics.median(
        each[system][scenario][figure] - each[base][scenario][figure] for each in rounds
    )


def ratio(rounds: Rounds, system: str, other: str, scenario: str, figure: str) -> float:
    """Return how many times `other` a system is: the median of the rounds' ratios."""
    return statistics.median(
        each[system][scenario][figure] / each[other][scenario][figure] for each in rounds
    )


def added_ratio(
    rounds: Rounds, system: str, other: str, scenario: str, figure: str, *, base: str
) -> float:
    """Return what a system adds to `base`, as a share of what `other` adds; median over rounds.

    A round in which `other` adds nothing has no ratio and counts as infinite.
    """
    shares = []
    for each in rounds:
        floor = each[base][scenario][figure]
        of_other = each[other][scenario][figure] - floor
        of_system = each[system][scenario][figure] - floor
        shares.append(of_system / of_other if of_other > 0 else math.inf)
    return statistics.median(shares)
