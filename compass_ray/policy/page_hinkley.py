"""When a stream of values is no longer what it was: Page and Hinkley's test, both ways. Pure.

The first values of a stream are its reference. After them, what each value deviates from the
reference beyond an allowance is added up, never below zero; where the sum passes a threshold, the
level has shifted (Page, 1954, "Continuous inspection schemes"; Hinkley, 1971). Then a new reference
begins, so that one shift is told once.

Deviations are counted in standard deviations of the reference, and one value counts at most
`_MOST`: seconds and tokens have long tails, so their logarithms are compared. The allowance is
several times the error of a reference of that length, so that a stream which stays as it is drifts
away from the threshold, not towards it.
"""

from collections.abc import Iterator
from math import expm1, log1p, sqrt

from compass_ray.types.decisions import Outcome
from compass_ray.types.shifts import Level, Stream, Trait

REFERENCE = 300
"""Values that say what is usual."""
_ALLOWANCE = 0.25
_THRESHOLD = 50.0
_MOST = 5.0
_LEAST_SPREAD = 0.1
"""Of what hardly varies, a tenth counts as a standard deviation."""
_LONG_TAILED = frozenset[Trait]({"latency", "output_tokens"})


def traits(outcome: Outcome) -> Iterator[tuple[Stream, float]]:
    """Yield what a finished request says of those who were called for it."""
    task = outcome.task
    for called in outcome.calls:
        yield Stream(task, called.endpoint, "errors"), float(not called.ok)
        if called.ok:
            yield Stream(task, called.endpoint, "latency"), called.seconds
    if outcome.endpoint and len(outcome.calls) == 1:  # else the usage is of several together
        yield Stream(task, outcome.endpoint, "output_tokens"), float(outcome.output_tokens)


def observed(
    level: Level, trait: Trait, value: float
) -> tuple[Level, tuple[float, float, int] | None]:
    """Return a stream's level after one more value, and what has shifted.

    That is the mean before, the mean since, and how many values that was seen in; of seconds and
    tokens, geometric means.
    """
    seen = log1p(value) if trait in _LONG_TAILED else value
    if level.values < REFERENCE:
        return _referred(level, seen), None
    sigma = max(_LEAST_SPREAD, sqrt(level.spread / (level.values - 1)))
    z = max(-_MOST, min(_MOST, (seen - level.mean) / sigma))
    now = _added(level, seen, z)
    if now.rise > _THRESHOLD:
        shift = (now.above / now.risen, now.risen)
    elif now.fall > _THRESHOLD:
        shift = (now.below / now.fallen, now.fallen)
    else:
        return now, None
    mean, values = shift
    return Level(), (_told(trait, level.mean), _told(trait, mean), values)


def _referred(level: Level, seen: float) -> Level:
    """Return the reference with one more value, by Welford."""
    count = level.values + 1
    mean = level.mean + (seen - level.mean) / count
    return Level(count, mean, level.spread + (seen - level.mean) * (seen - mean))


def _added(level: Level, seen: float, z: float) -> Level:
    rise = max(0.0, level.rise + z - _ALLOWANCE)
    fall = max(0.0, level.fall - z - _ALLOWANCE)
    return level._replace(
        rise=rise,
        risen=level.risen + 1 if rise else 0,
        above=level.above + seen if rise else 0.0,
        fall=fall,
        fallen=level.fallen + 1 if fall else 0,
        below=level.below + seen if fall else 0.0,
    )


def _told(trait: Trait, mean: float) -> float:
    return expm1(mean) if trait in _LONG_TAILED else mean
