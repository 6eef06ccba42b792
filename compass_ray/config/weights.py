"""The shape of the decision matrix's weights."""

from typing import Self

from pydantic import model_validator

from compass_ray.config.fields import Section, Share

_TOLERANCE = 1e-6


class Weights(Section):
    """How much each column of the decision matrix counts; they sum to 1."""

    complexity: Share = 0.30
    """Fit of the model's tier and skills to the task."""
    tokens: Share = 0.25
    """Room left in its context window."""
    latency: Share = 0.20
    """How fast it is."""
    cost: Share = 0.15
    """How cheap it is."""
    accuracy: Share = 0.10
    """How good its answer is expected to be."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.complexity + self.tokens + self.latency + self.cost + self.accuracy
        if abs(total - 1) > _TOLERANCE:
            raise ValueError(f"the weights sum to {total:.6g}, not to 1")
        return self
