"""From checked settings to ways of choosing: everybody's, and those of experiments."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from compass_ray.config import schema, spending
from compass_ray.config.experiments import Experiment as Entry
from compass_ray.config.weights import Weights as Said
from compass_ray.policy.columns import Weights, thrifty
from compass_ray.policy.plan import Plan
from compass_ray.types.experiments import Experiment, Guard
from compass_ray.types.routing import TIERS


def plan(routing: schema.Routing, entry: Entry | None = None) -> Plan:
    """Return everybody's way of choosing, or that of an experiment's variant."""
    variant = None if entry is None else entry.variant
    if variant is None:
        return _plan(routing, routing.weights)
    usual = _plan(routing, variant.weights or routing.weights)
    return replace(
        usual,
        frugality=usual.frugality if variant.frugality is None else variant.frugality,
        tiers={task: TIERS[str(tier)] for task, tier in variant.tiers.items()},
    )


def _plan(routing: schema.Routing, said: Said) -> Plan:
    weights = Weights(**dict(said))
    steps = sorted((step.used, step.cost_factor) for step in routing.thrift)
    thrift = tuple((used, thrifty(weights, factor)) for used, factor in steps)
    return Plan(weights, thrift, routing.frugality)


def plans(
    routing: schema.Routing, accounts: Mapping[str, spending.AccountEntry]
) -> dict[str, Plan]:
    """Return, by account, the way of choosing of those that have weights, or are below such."""
    own = {name: _weights_of(name, accounts) for name in accounts}
    return {name: _plan(routing, weights) for name, weights in own.items() if weights is not None}


def _weights_of(name: str, accounts: Mapping[str, spending.AccountEntry]) -> Said | None:
    above: str | None = name
    while above is not None:
        if (weights := accounts[above].weights) is not None:
            return weights
        above = accounts[above].parent
    return None


def experiments(routing: schema.Routing) -> tuple[tuple[Experiment, Plan], ...]:
    """Return the experiments, each with what its variant does."""
    return tuple((_experiment(routing, one), plan(routing, one)) for one in routing.experiments)


def _experiment(routing: schema.Routing, entry: Entry) -> Experiment:
    """Return one; its digest is of all that a run compares, and by what."""
    compared = (entry.model_dump(exclude={"running"}), plan(routing), routing.learned)
    return Experiment(
        name=entry.name,
        digest=hashlib.sha256(repr(compared).encode()).hexdigest()[:12],
        share=entry.share,
        unit=entry.unit,
        metric=entry.metric,
        alpha=entry.alpha,
        guard=Guard(**dict(entry.guard)),
        running=entry.running,
    )
