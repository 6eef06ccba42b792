"""Selection under the conditions of this moment: who is out, and what the caller has left."""

from collections.abc import Callable, Mapping
from operator import is_
from typing import Any

from compass_ray.gateway.job import Job
from compass_ray.gateway.paces import Paces
from compass_ray.gateway.ports import Circuits, Directory, Wallet
from compass_ray.policy.plan import Plan
from compass_ray.policy.select import Catalogue, Conditions
from compass_ray.types.accounts import Caller
from compass_ray.types.routing import Decision, Endpoint
from compass_ray.types.usage import MAX_MONEY


class Chooser:
    """Knows the conditions, for the endpoints of one catalogue. Times are Unix seconds."""

    def __init__(
        self,
        catalogue: Catalogue,
        timeout: float,
        directory: Directory,
        circuits: Circuits,
        wallet: Wallet,
    ) -> None:
        """Take also the seconds that a request has whose caller does not say."""
        self._timeout = timeout
        self._places = catalogue.place
        self._paces = Paces(catalogue)
        self._directory = directory
        self._circuits = circuits
        self._wallet = wallet
        self._out_of: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
        self._out: Mapping[str, str] = {}

    def choose(
        self,
        select: Callable[..., Decision],
        about: tuple[Any, ...],
        caller: Caller,
        plan: Plan,
        now: float,
    ) -> Decision:
        """Return what `select` says now of what it is `about`: a request and what is known."""
        remaining = self._wallet.remaining(caller.account, now)
        conditions = Conditions(
            self._unavailable(now),
            caller.allowed_models,
            remaining,
            self._paces.by_urgency,
            self._directory.starts(),
            self._timeout,
        )
        weights, used = plan.weights, about[0].preferences.budget_used
        if remaining is not None:
            used = max(used, self._wallet.used(caller.account, now))
        if remaining is not None or used:
            weights = plan.weights_at(used)
        decision = select(*about, conditions, weights)
        if not decision.endpoints and remaining is not None:
            # What remains is an estimate: the wallet has the last word on money.
            conditions = conditions._replace(remaining=MAX_MONEY)
            decision = select(*about, conditions, weights)
        return decision

    def learn(self, job: Job[Any], endpoint: Endpoint) -> None:
        """Remember how long `endpoint` took; of several choices each is taken to take as long."""
        last = job.attempts[-1]
        if endpoint.id in self._places and last.ok and last.endpoint == endpoint.id:
            usage = job.charges[-1].usage
            if not usage.estimated:
                self._paces.observe(endpoint, usage.output_tokens / job.request.n, last.seconds)

    def _unavailable(self, now: float) -> Mapping[str, str]:
        """Return who cannot be called, and why; the same object until that changes."""
        sources = self._directory.unavailable(), self._circuits.excluded(now)
        if not all(map(is_, sources, self._out_of)):
            self._out_of, self._out = sources, {**sources[0], **sources[1]}
        return self._out
