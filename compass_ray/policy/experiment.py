"""Who is in which arm of an experiment, and when a run has said what it can say. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b

from compass_ray.policy.sequential import Interval, difference, level, one_by_one
from compass_ray.types.decisions import Outcome
from compass_ray.types.experiments import (
    Arm,
    ArmName,
    Arms,
    Ending,
    Experiment,
    ExperimentOrder,
    Figure,
    Run,
    RunChanges,
    Tally,
)

_GUARD_ALPHA = 0.2
"""A guard rail is there to be quick: nine of ten times in all it is right to end a run."""
_SMALL: Mapping[Figure, float] = {"quality": 1.0, "errors": 1.0}
"""How far a value can be off, where that has a bound."""
_MORE_IS_BETTER = frozenset[Figure]({"quality"})
_OFF = Ending("off", "by the configuration")
_FAULT = 500
_OK = 200


def assigned(experiment: Experiment, unit: str) -> Arm | None:
    """Return the arm that `unit` is in, always the same; None where it takes no part."""
    told = blake2b(f"{experiment.name}\0{unit}".encode(), digest_size=8).digest()
    place = int.from_bytes(told) / 2**64
    if place >= 2 * experiment.share:
        return None
    kept = "" if experiment.unit == "request" else told.hex()
    return Arm(experiment.name, "variant" if place < experiment.share else "control", kept)


def values(outcome: Outcome) -> Iterator[tuple[Figure, float]]:
    """Yield what a finished request says; one that was its caller's own mistake says nothing."""
    if outcome.status == _OK:
        yield "latency", outcome.seconds
    if outcome.status == _OK or outcome.status >= _FAULT:
        yield "cost", float(outcome.cost)
        yield "errors", float(outcome.status >= _FAULT)


def compared(experiment: Experiment, arms: Arms) -> Interval:
    """Return how much the variant's metric exceeds the control's."""
    return _difference(arms, experiment.metric, experiment.alpha)


def ending(experiment: Experiment, arms: Arms) -> Ending | None:
    """Return how a run ends with what is known; None where it goes on."""
    for broken in _broken(experiment, arms):
        return Ending("guarded", broken)
    found = compared(experiment, arms)
    if found.low <= 0 <= found.high:
        return None
    better = (found.low > 0) == (experiment.metric in _MORE_IS_BETTER)
    reason = (
        f"{experiment.metric} differs by {found.estimate:.4g}, surely {found.low:.4g} to "
        f"{found.high:.4g}"
    )
    return Ending("better" if better else "worse", reason)


def configured(runs: Sequence[Run], experiments: Iterable[Experiment]) -> RunChanges:
    """Return what a configuration changes.

    What is new, compared otherwise or switched on again begins a run; what is switched off ends,
    and stays to be read; what is not configured any more is forgotten.
    """
    known = {run.experiment.name: run for run in runs}
    wanted = {one.name: one for one in experiments}
    begun, ended = [], {}
    for name, one in wanted.items():
        before = known.get(name)
        was_off = before is not None and before.ending == _OFF
        is_new = before is None or before.experiment.digest != one.digest
        if is_new or (was_off and one.running):
            begun.append(one)
        if not one.running and (is_new or (before is not None and before.ended is None)):
            ended[name] = _OFF
    return RunChanges([name for name in known if name not in wanted], begun, ended)


def ordered(runs: Sequence[Run], order: ExperimentOrder) -> RunChanges | None:
    """Return what an operator's order changes; None where there is no such experiment.

    Starting one begins a new run, unless the configuration has it switched off; stopping one that
    has ended changes nothing.
    """
    run = next((one for one in runs if one.experiment.name == order.name), None)
    if run is None:
        return None
    if order.action == "start" and run.ending != _OFF:
        return RunChanges(begun=[run.experiment])
    if order.action == "stop" and run.ended is None:
        return RunChanges(ended={order.name: Ending("stopped", "by an operator")})
    return RunChanges()


def endings(runs: Iterable[Run]) -> RunChanges:
    """Return which of the runs end with what is known."""
    found = {
        run.experiment.name: ended
        for run in runs
        if run.ended is None and (ended := ending(run.experiment, run.arms)) is not None
    }
    return RunChanges(ended=found)


def _broken(experiment: Experiment, arms: Arms) -> Iterator[str]:
    """Yield the guard rails that the variant has broken, in words.

    Every request counts on its own here, also where whole users are compared: a rail has to hold
    before many of them have come by.
    """
    guard = experiment.guard
    arms = {
        name: {figure: one_by_one(tally) for figure, tally in figures.items()}
        for name, figures in arms.items()
    }
    ratios: tuple[tuple[Figure, float | None], ...] = (
        ("cost", guard.max_cost_ratio),
        ("latency", guard.max_latency_ratio),
    )
    for figure, ratio in ratios:
        if ratio is not None and _difference(arms, figure, _GUARD_ALPHA, ratio).low > 0:
            yield f"{figure} is more than {ratio:g} times the control's"
    most, least = guard.max_error_rate, guard.min_quality
    if most is not None and _level(arms, "errors").low > most:
        yield f"more than {most:.2%} of the requests fail"
    if least is not None and _level(arms, "quality").high < least:
        yield f"quality is below {least:g}"


def _difference(arms: Arms, figure: Figure, alpha: float, times: float = 1.0) -> Interval:
    variant, control = _tally(arms, "variant", figure), _tally(arms, "control", figure)
    total = variant.total + control.total
    scale = _SMALL.get(figure, total / max(1, variant.values + control.values))
    return difference(variant, control, alpha, scale, times)


def _level(arms: Arms, figure: Figure) -> Interval:
    return level(_tally(arms, "variant", figure), _GUARD_ALPHA, _SMALL[figure])


def _tally(arms: Arms, arm: ArmName, figure: Figure) -> Tally:
    return arms.get(arm, {}).get(figure, Tally())
