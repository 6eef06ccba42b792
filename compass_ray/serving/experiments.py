"""Experiments as operators read them, and what they may order. JSON-ready."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, get_args

from compass_ray.policy.experiment import compared
from compass_ray.types.errors import InvalidRequest, NotFound
from compass_ray.types.experiments import (
    ArmName,
    ExperimentAction,
    ExperimentOrder,
    Figure,
    Run,
)

_ACTIONS: tuple[ExperimentAction, ...] = get_args(ExperimentAction)
_ARMS: tuple[ArmName, ...] = get_args(ArmName)
_NAMES: Mapping[Figure, str] = {
    "quality": "quality",
    "cost": "cost_micro_usd",
    "latency": "seconds",
    "errors": "error_rate",
}


def order_of(said: Mapping[str, Any]) -> ExperimentOrder:
    """Return what a body orders: `{"name": ..., "action": "start" or "stop"}`.

    Raises:
        InvalidRequest: names the field.
    """
    name, action = said.get("name"), said.get("action")
    if action not in _ACTIONS:
        raise InvalidRequest(f"action must be one of {', '.join(_ACTIONS)}", param="action")
    if not isinstance(name, str):
        raise InvalidRequest("name must be that of an experiment", param="name")
    return ExperimentOrder(name, action)


def ordered_run(order: ExperimentOrder, runs: Sequence[Run] | None) -> Run:
    """Return the run that an order was about.

    Raises:
        NotFound: there is no such experiment.
        InvalidRequest: it cannot be started.
    """
    for run in runs or ():
        if run.experiment.name == order.name:
            if order.action == "start" and run.ended is not None:
                raise InvalidRequest(
                    f"the configuration has {order.name!r} switched off",
                    param="name",
                    code="experiment_off",
                )
            return run
    raise NotFound(f"no experiment {order.name!r}", param="name", code="unknown_experiment")


def as_json(run: Run) -> dict[str, object]:
    """Return a run: what is compared, its arms, the difference and how it ended.

    The bounds of the difference hold however often one looks; null while they are not known.
    """
    experiment = run.experiment
    found = compared(experiment, run.arms)
    return {
        "name": experiment.name,
        "state": "running" if run.ended is None else "ended",
        "began": run.began,
        "ended": run.ended,
        "verdict": None if run.ending is None else run.ending.verdict,
        "reason": None if run.ending is None else run.ending.reason,
        "share": experiment.share,
        "unit": experiment.unit,
        "metric": experiment.metric,
        "alpha": experiment.alpha,
        "arms": {name: _arm(run, name) for name in _ARMS},
        "difference": {
            "estimate": found.estimate,
            "low": found.low if isfinite(found.low) else None,
            "high": found.high if isfinite(found.high) else None,
        },
    }


def _arm(run: Run, name: ArmName) -> dict[str, object]:
    """Return how often each figure is known in an arm, of how many units, and its mean."""
    return {
        told: {"values": tally.values, "units": tally.units, "mean": tally.mean}
        for figure, told in _NAMES.items()
        if (tally := run.arms.get(name, {}).get(figure)) is not None
    }
