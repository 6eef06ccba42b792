"""Which arm of which experiment a request is in, as this replica knows it."""

from collections.abc import Sequence

from compass_ray.policy.belief import Taught
from compass_ray.policy.experiment import assigned
from compass_ray.policy.plan import Plan
from compass_ray.types.accounts import Caller
from compass_ray.types.chat import ChatRequest
from compass_ray.types.experiments import Arm, Experiment


class Experiments:
    """Those of the configuration that the Learner says are running.

    Until it was heard nobody takes part: an experiment may have been ended for good reason.
    """

    def __init__(self, known: Sequence[tuple[Experiment, Plan]]) -> None:
        self._known = known
        self._running: Sequence[tuple[Experiment, Plan]] = ()

    def hear(self, taught: Taught) -> None:
        """Take over the Learner's word."""
        self._running = [one for one in self._known if one[0].digest in taught.running]

    def of(
        self, request: ChatRequest, caller: Caller, request_id: str | None, usual: Plan
    ) -> tuple[Arm | None, Plan]:
        """Return the request's arm, and how to decide it.

        It is in the first experiment that has a place for it; `request_id` is None where nobody
        will act on the decision.
        """
        for experiment, plan in self._running:
            unit = _unit(experiment, request, caller, request_id)
            arm = None if unit is None else assigned(experiment, unit)
            if arm is not None:
                return arm, plan if arm.name == "variant" else usual
        return None, usual


def _unit(
    experiment: Experiment, request: ChatRequest, caller: Caller, request_id: str | None
) -> str | None:
    if experiment.unit == "request":
        return request_id
    user = request.body.get("user") if experiment.unit == "user" else None
    return f"{caller.account}\0{user}" if isinstance(user, str) and user else caller.account
