"""How often experiments find what is not there, and how soon what is, when always looked at.

    python -m benchmarks.experiments [--runs 1000] [--values 5000] [--seed 1]

Both arms get values drawn by chance, one at a time, and are compared after every tenth: as the
Learner does, and at 0.05. Prints the share of runs in which a difference was found, and after how
many values of each arm.
"""

import argparse
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy.sequential import Part, added, difference
from compass_ray.types.experiments import Tally

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

_ALPHA = 0.05
_LOOK_EVERY = 10


def main() -> None:
    """Print a line for each kind of values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--values", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    for name, (variant, control) in CASES.items():
        chance = np.random.default_rng(asked.seed)
        found = [
            when
            for _ in range(asked.runs)
            if (when := first(variant(chance, asked.values), control(chance, asked.values)))
        ]
        after = f", after {median(found):,.0f} (median)" if found else ""
        print(f"{name:<40} {len(found) / asked.runs:6.1%}{after}", flush=True)


def first(variant: NDArray[np.float64], control: NDArray[np.float64]) -> int:
    """Return after how many values a difference is found; 0 where none is."""
    one, other = Tally(), Tally()
    scale = 1.0 if max(variant.max(), control.max()) <= 1 else None
    for n, values in enumerate(zip(variant.tolist(), control.tolist(), strict=True), 1):
        one, _ = added(one, Part(), values[0])
        other, _ = added(other, Part(), values[1])
        if n % _LOOK_EVERY == 0:
            usual = (one.mean + other.mean) / 2
            found = difference(one, other, _ALPHA, scale or usual)
            if not found.low <= 0 <= found.high:
                return n
    return 0


def _shares(share: float) -> Draw:
    return lambda chance, count: (chance.random(count) < share).astype(np.float64)


def _amounts(spread: float, mean: float = 0.0) -> Draw:
    return lambda chance, count: chance.lognormal(mean, spread, count)


CASES: Mapping[str, tuple[Draw, Draw]] = {
    "no difference: shares of 0.5": (_shares(0.5), _shares(0.5)),
    "no difference: shares of 0.02": (_shares(0.02), _shares(0.02)),
    "no difference: log-normal, sigma 1.5": (_amounts(1.5), _amounts(1.5)),
    "shares of 0.8 and 0.7": (_shares(0.8), _shares(0.7)),
    "shares of 0.75 and 0.7": (_shares(0.75), _shares(0.7)),
    "log-normal, sigma 1, 22 % more": (_amounts(1.0, 0.2), _amounts(1.0)),
}

if __name__ == "__main__":
    main()
