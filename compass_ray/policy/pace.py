"""How long an endpoint takes, as a multiple of what the catalogue expects, by percentile. Pure.

A percentile is followed by small steps, up where an answer took longer and down where it did not,
so that it rests where the right share of answers lies below it (Robbins and Monro, 1951). Steps
are relative, and shrink from a third to `_STEP` with the first answers; the last some hundred
count.
"""

from collections.abc import Mapping
from math import exp
from types import MappingProxyType

from compass_ray.types.routing import Urgency

PERCENTILES: Mapping[Urgency, float] = MappingProxyType({"real-time": 0.9, "normal": 0.5})
"""What is compared: for whom time presses, how long it takes when it takes long."""

_STEP = 0.03
_EARLY = 3.0
_LEAST, _MOST = 0.02, 50.0


def followed(pace: float, ratio: float, percentile: float, seen: int) -> float:
    """Return the percentile of observed to expected time after one more answer.

    `ratio` is that of the answer, and `seen` how many came before it.
    """
    step = max(_STEP, 1 / (_EARLY + seen))
    pace *= exp(step * percentile if ratio > pace else -step * (1 - percentile))
    return min(_MOST, max(_LEAST, pace))
