"""How often drift is found where there is none, and how soon where there is.

    python -m benchmarks.drift [--runs 200] [--seed 1]

Streams of values drawn by chance, watched as the Learner does: 5,000 that stay as they are, and
1,000 followed by 3,000 of another kind.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import quantiles

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy.page_hinkley import observed
from compass_ray.types.shifts import Level, Trait

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

_CALM, _BEFORE, _AFTER = 5_000, 1_000, 3_000


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = np.random.default_rng(asked.seed)
    for trait, before, after in CASES.values():
        for draw in (before, after):
            alarms = sum(len(list(found(trait, draw(chance, _CALM)))) for _ in range(asked.runs))
            print(f"{trait:<14} stays: {alarms} alarms in {asked.runs * _CALM:,} values")
    for name, (trait, before, after) in CASES.items():
        delays = []
        for _ in range(asked.runs):
            values = np.concatenate([before(chance, _BEFORE), after(chance, _AFTER)])
            delays += [when - _BEFORE for when in found(trait, values) if when > _BEFORE][:1]
        tenths = quantiles(delays, n=10)
        share, middle, most = len(delays) / asked.runs, tenths[4], tenths[8]
        print(f"{name:<40} found in {share:.1%}, after {middle:,.0f} (median), {most:,.0f} (90 %)")


def found(trait: Trait, values: Iterable[float]) -> Iterator[int]:
    """Yield after how many values drift is found."""
    level = Level()
    for n, value in enumerate(values, 1):
        level, shift = observed(level, trait, float(value))
        if shift is not None:
            yield n


def _shares(share: float) -> Draw:
    return lambda chance, count: (chance.random(count) < share).astype(np.float64)


def _amounts(middle: float, spread: float) -> Draw:
    return lambda chance, count: chance.lognormal(np.log(middle), spread, count)


CASES: Mapping[str, tuple[Trait, Draw, Draw]] = {
    "quality, 0.8 to 0.6": ("quality", _shares(0.8), _shares(0.6)),
    "quality, 0.8 to 0.4": ("quality", _shares(0.8), _shares(0.4)),
    "errors, 1 % to 10 %": ("errors", _shares(0.01), _shares(0.1)),
    "errors, 1 % to 30 %": ("errors", _shares(0.01), _shares(0.3)),
    "latency twice as long, sigma 0.7": ("latency", _amounts(2, 0.7), _amounts(4, 0.7)),
    "answers twice as long, sigma 1": ("output_tokens", _amounts(150, 1), _amounts(300, 1)),
}

if __name__ == "__main__":
    main()
