"""What may differ between two ways of choosing a model: weights, frugality, tiers by task. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from compass_ray.policy.columns import Weights
from compass_ray.policy.select import AUTO
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification, TaskType, Tier


@dataclass(frozen=True, slots=True)
class Plan:
    """One way of choosing."""

    weights: Weights
    thrift: Sequence[tuple[float, Weights]] = ()
    """The weights that hold from so large a used share of the caller's budget; ascending."""
    frugality: float = 0.0
    """How much expected quality a premium answer's cost is worth."""
    tiers: Mapping[TaskType, Tier] = field(default_factory=dict)
    """The tier of a task, whatever rules and model say."""

    def weights_at(self, used: float) -> Weights:
        """Return the weights at this used share of the caller's budget."""
        weights = self.weights
        for share, thrifty in self.thrift:
            if used >= share:
                weights = thrifty
        return weights


def is_free(request: ChatRequest, seen: Classification) -> bool:
    """Return whether the tier is ours to choose.

    It is not where the caller has said one, or a model, nor where a mistake would be serious.
    """
    return (
        request.model == AUTO and request.preferences.tier is None and seen.accuracy != "critical"
    )


def planned(request: ChatRequest, seen: Classification, plan: Plan) -> Classification:
    """Return `seen` with the tier that the plan has for its task, if it has one and may."""
    tier = plan.tiers.get(seen.task_type)
    if tier is None or not is_free(request, seen):
        return seen
    reason = f"tier {tier.value} ({tier.name.lower()}), the experiment's for {seen.task_type}"
    return replace(seen, tier=tier, reasons=(*seen.reasons, reason))
