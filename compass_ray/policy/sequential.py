"""Comparing two arms while looking at any time: confidence sequences. Pure.

A test of fixed size, looked at after each request, finds a difference where there is none sooner
or later. A confidence sequence holds at all times at once: with probability 1 - alpha the truth is
never outside, so one may stop as soon as something is sure. It mixes over normal alternatives
(Robbins, 1970; Johari et al., 2017, "Peeking at A/B tests") with an estimated variance, which is
exact as numbers grow (Waudby-Smith et al., 2024, "Time-uniform central limit theory"); hence
nothing is said of fewer than `FEWEST` units.

What is assigned to an arm is a unit, such as a user, whose requests resemble each other. So values
are added up by unit, and the variance is that between units.
"""

from math import inf, log, sqrt
from typing import NamedTuple

from compass_ray.types.experiments import Tally

FEWEST = 30
"""Units of each arm before anything is said."""
_TIGHTEST_AT = 500
"""Effective units at which the interval is as narrow as this method allows."""


class Part(NamedTuple):
    """What one unit has contributed: how many values, and their sum."""

    values: int = 0
    total: float = 0.0


class Interval(NamedTuple):
    """Where a value is, at all times at once."""

    low: float
    estimate: float
    high: float


def added(tally: Tally, part: Part, value: float) -> tuple[Tally, Part]:
    """Return an arm's tally and a unit's part after one more value of that unit."""
    now = Part(part.values + 1, part.total + value)
    return Tally(
        tally.units + (part.values == 0),
        tally.values + 1,
        tally.total + value,
        tally.squares + now.total**2 - part.total**2,
        tally.products + now.total * now.values - part.total * part.values,
        tally.sizes + now.values**2 - part.values**2,
        tally.singles + value**2,
    ), now


def one_by_one(tally: Tally) -> Tally:
    """Return the tally as if every value were a unit of its own."""
    count, total = tally.values, tally.total
    return Tally(count, count, total, tally.singles, total, count, tally.singles)


def difference(
    variant: Tally, control: Tally, alpha: float, scale: float, times: float = 1.0
) -> Interval:
    """Return the variant's mean less `times` the control's; unbounded before enough units.

    `scale` is how far a value can be off, or usually is.
    """
    estimate = variant.mean - times * control.mean
    if min(variant.units, control.units) < FEWEST:
        return Interval(-inf, estimate, inf)
    variance = _variance(variant, scale) + times * times * _variance(control, scale)
    units = variant.units * control.units / (variant.units + control.units)
    return _around(estimate, variance, units, alpha)


def level(arm: Tally, alpha: float, scale: float) -> Interval:
    """Return an arm's mean; unbounded before enough units."""
    if arm.units < FEWEST:
        return Interval(-inf, arm.mean, inf)
    return _around(arm.mean, _variance(arm, scale), arm.units, alpha)


def _variance(arm: Tally, scale: float) -> float:
    """Return the variance of the mean.

    One more unit, `scale` away from the mean, is imagined: where all values are the same so far,
    that says little about the next.
    """
    mean = arm.mean
    between = arm.squares - 2 * mean * arm.products + mean * mean * arm.sizes
    imagined = (scale * arm.values / arm.units) ** 2
    spread = max(0.0, between) * arm.units / (arm.units - 1) + imagined
    return float(spread / arm.values**2)


def _around(estimate: float, variance: float, units: float, alpha: float) -> Interval:
    """Return the normal mixture's interval; the mixture is as wide as suits `_TIGHTEST_AT`."""
    doubt = -2 * log(alpha)
    ratio = units * (doubt + log(doubt + 1)) / _TIGHTEST_AT
    radius = sqrt(variance * (1 + ratio) / ratio * (doubt + log(1 + ratio)))
    return Interval(estimate - radius, estimate, estimate + radius)
