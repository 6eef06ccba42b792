"""The shape of `routing.experiments`."""

# ruff: noqa: RUF012  # pydantic copies mutable defaults

from typing import Annotated, Self

from pydantic import Field, model_validator

from compass_ray.config.fields import Frugality, Name, Section, Share, TierName
from compass_ray.config.weights import Weights
from compass_ray.types.experiments import Figure, Unit
from compass_ray.types.routing import TaskType

Ratio = Annotated[float, Field(gt=0, le=1000)]


class Variant(Section):
    """What is done otherwise; the rest is as for everybody."""

    weights: Weights | None = None
    """Other weights of the decision matrix."""
    frugality: Frugality | None = None
    """Another `routing.frugality`; takes `routing.learned`."""
    tiers: dict[TaskType, TierName] = {}
    """The tier of a task, whatever rules and model say."""

    @model_validator(mode="after")
    def _differs(self) -> Self:
        if self.weights is None and self.frugality is None and not self.tiers:
            raise ValueError("must name weights, frugality or tiers: else nothing is compared")
        return self


class Guard(Section):
    """What the variant may not do: a run ends once it surely does. null: nothing is asked."""

    max_cost_ratio: Ratio | None = None
    """Mean cost of a request, as a multiple of the control's."""
    max_latency_ratio: Ratio | None = None
    """Mean seconds of an answer, likewise."""
    max_error_rate: Share | None = None
    """Share of requests that fail (status 500 and above)."""
    min_quality: Share | None = None
    """Mean score by feedback."""


class Experiment(Section):
    """Two ways of choosing, compared on real traffic."""

    name: Name
    share: Annotated[float, Field(gt=0, le=0.5)]
    """Share of the units that get the variant; as many again are the control."""
    unit: Unit = "user"
    """What stays in its arm: `user`, an account and the `user` that its requests name; `account`;
    `request`, each on its own."""
    metric: Figure = "quality"
    """What decides: `quality` by feedback, `cost`, `latency` or `errors`."""
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Probability of finding a difference where there is none, however often one looks."""
    variant: Variant
    guard: Guard = Guard()
    running: bool = True
    """`false` ends it; what was found stays."""
