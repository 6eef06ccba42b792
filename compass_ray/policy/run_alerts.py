"""What is told of a run's budget while it is used up: once for each threshold. Pure."""

from collections.abc import Sequence

from compass_ray.policy.alerts import crossed
from compass_ray.types.usage import Money
from compass_ray.types.workflows import BudgetReached


class RunAlerts:
    """`apply` what was told, ask what is `due`; without a budget (micro-dollars) nothing ever."""

    def __init__(self, budget: Money | None, percents: Sequence[int]) -> None:
        self._budget = budget
        self._percents = percents
        self._told_at: Money = 0
        """What was spent when something was last told."""
        self.used = 0.0
        """The share that was told of last."""

    def apply(self, event: BudgetReached) -> None:
        """Take in what was told."""
        self._told_at, self.used = event.spent, event.share

    def due(self, spent: Money, now: float) -> tuple[BudgetReached, ...]:
        """Return what is to be told now that so much is spent, the lowest share first."""
        if self._budget is None:
            return ()
        percents = crossed(self._budget, self._told_at, spent, self._percents)
        return tuple(BudgetReached(percent / 100, spent, now) for percent in percents)
