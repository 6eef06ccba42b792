"""One admitted call of a job: charged once and listed once, however it ends."""

from collections.abc import Callable
from typing import Any

from compass_ray.gateway.admission import Hold
from compass_ray.gateway.job import Job
from compass_ray.policy.billing import Charge, tokens_of_time
from compass_ray.policy.retry import may_have_produced
from compass_ray.providers.base import StreamState
from compass_ray.types.errors import CompassError, ProviderTimeout
from compass_ray.types.events import Attempt
from compass_ray.types.usage import Money, Usage

_CANCELLED = "Cancelled"
_EARLY = 0.05
"""Seconds by which an event loop's timer may come before its time."""
_UNDER_WAY = Attempt("", ok=False, seconds=0.0, error="UnderWay")


class Call:
    """Exactly one of `succeed`, `fail`, `abandon` and their `_unheard` kin ends it.

    `usage` is the provider's word, `tokens` our own count of the output. `_unheard`: nobody knows
    what was produced, the time it took is the estimate; what was never sent is not charged.
    """

    __slots__ = (
        *("_clock", "_hold", "_job", "_place", "_produced", "_started"),
        *("endpoint", "state"),
    )

    def __init__(self, job: Job[Any], hold: Hold, clock: Callable[[], float]) -> None:
        """Begin now; `clock` is monotonic seconds."""
        self.endpoint = hold.endpoint
        self._job = job
        self._hold = hold
        self._clock = clock
        self._started = clock()
        self._place = len(job.attempts)
        self._produced: tuple[Usage | None, int] | None = None
        self.state = StreamState(f"chatcmpl-{job.id}", job.created, hold.endpoint.model)
        job.attempts.append(_UNDER_WAY)

    def begin(self) -> None:
        """Note that a stream has begun."""
        self._list("", "", cost=None)

    def rest(self, seconds: float) -> None:
        """Note that the provider takes nothing more for so long."""
        self._hold.rest(seconds)

    def produce(self, usage: Usage | None, tokens: int) -> None:
        """Note what a whole answer took, before it is known whether it will do."""
        self._produced = usage, tokens

    def succeed(self, usage: Usage | None, tokens: int) -> Charge:
        """Charge the whole answer, and return the charge."""
        due = self._job.bill(self.endpoint, usage, tokens)
        self._list("", "", due.cost)
        self._hold.succeed(due)
        return due

    def fail(self, error: CompassError, usage: Usage | None, tokens: int) -> None:
        """Charge what came before the failure."""
        due = self._job.bill(self.endpoint, usage, tokens)
        self._list(type(error).__name__, error.message, due.cost)
        self._hold.fail(error, due)

    def fail_unheard(self, error: CompassError) -> None:
        """Charge what was noted, else the time, if the provider may have worked."""
        worked = self._produced is not None or may_have_produced(error)
        due = self._by_time() if self.state.sent and worked else None
        self._list(type(error).__name__, error.message, 0 if due is None else due.cost)
        self._hold.fail(error, due)

    def abandon(self, usage: Usage | None, tokens: int) -> None:
        """Charge what came before nobody waited any more."""
        due = self._job.bill(self.endpoint, usage, tokens)
        self._list(_CANCELLED, "", due.cost)
        self._hold.abandon(due)

    def abandon_unheard(self) -> None:
        """Charge the time: nobody waits any more."""
        due = self._by_time() if self.state.sent else None
        self._list(_CANCELLED, "", 0 if due is None else due.cost)
        self._hold.abandon(due)

    def ended_by(self, error: CompassError) -> CompassError:
        """Return `error`, or DeadlineExceeded where the caller's own deadline was what passed.

        Then it says nothing about the endpoint: that had less time than it may take.
        """
        job = self._job
        if job.request.preferences.timeout is None:
            return error
        is_total = isinstance(error, ProviderTimeout) and error.phase == "total"
        return job.out_of_time() if is_total and self._clock() > job.deadline - _EARLY else error

    def _by_time(self) -> Charge:
        job = self._job
        if self._produced is not None:
            return job.bill(self.endpoint, *self._produced)
        seconds = self._clock() - self._started
        tokens = tokens_of_time(seconds, self.endpoint, job.decision.classification)
        return job.bill(self.endpoint, None, tokens)

    def _list(self, error: str, message: str, cost: Money | None) -> None:
        seconds = self._clock() - self._started
        made_good = self.state.made_good
        attempt = Attempt(self.endpoint.id, not error, seconds, error, message, cost, made_good)
        self._job.attempts[self._place] = attempt
