"""From checked settings to ways of choosing: everybody's, and those of experiments."""

import hashlib

from compass_ray.config import schema
from compass_ray.config.experiments import Experiment as Entry
from compass_ray.policy.columns import Weights, thrifty
from compass_ray.policy.plan import Plan
from compass_ray.types.experiments import Experiment, Guard
from compass_ray.types.routing import TIERS


def plan(routing: schema.Routing, entry: Entry | None = None) -> Plan:
    """Return everybody's way of choosing, or that of an experiment's variant."""
    variant = None if entry is None else entry.variant
    said = routing.weights if variant is None or variant.weights is None else variant.weights
    weights = Weights(**dict(said))
    steps = sorted((step.used, step.cost_factor) for step in routing.thrift)
    frugality = None if variant is None else variant.frugality
    tiers = {} if variant is None else variant.tiers
    return Plan(
        weights=weights,
        thrift=tuple((used, thrifty(weights, factor)) for used, factor in steps),
        frugality=routing.frugality if frugality is None else frugality,
        tiers={task: TIERS[str(tier)] for task, tier in tiers.items()},
    )


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
