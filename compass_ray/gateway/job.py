"""One request on its way from decision to settlement."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic

from compass_ray.policy.billing import Charge, charge
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import DeadlineExceeded
from compass_ray.types.events import Assessment, Attempt
from compass_ray.types.requests import RequestT
from compass_ray.types.routing import Decision, Endpoint
from compass_ray.types.usage import Money, Usage


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, chance and waiting, as the rim provides them."""

    wall: Callable[[], float]
    """Unix seconds."""
    monotonic: Callable[[], float]
    """Seconds on the event loop's clock."""
    sleep: Callable[[float], Awaitable[None]]
    uniform: Callable[[], float]


@dataclass(slots=True)
class Job(Generic[RequestT]):
    """One decided request on its way.

    `attempts` and `charges` grow as endpoints are tried, `assessments` as answers are looked at.
    """

    id: str
    caller: Caller
    request: RequestT
    decision: Decision
    deadline: float
    started: float
    created: int
    attempts: list[Attempt] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    assessments: list[Assessment] = field(default_factory=list)
    first_byte_at: float | None = None
    """When a stream's first chunk came, on the same clock as `started`."""

    @property
    def cost(self) -> Money:
        """What all attempts were charged so far, in micro-dollars."""
        return sum(charge.cost for charge in self.charges)

    def affords(self, amount: Money | None) -> bool:
        """Return whether an attempt that may cost so much stays within the caller's cost limit."""
        limit = self.request.preferences.max_cost
        return limit is None or (amount is not None and self.cost + amount <= limit)

    def out_of_time(self) -> DeadlineExceeded:
        """Return the error of a request whose deadline has passed."""
        return DeadlineExceeded(
            f"not answered within {self.deadline - self.started:g} s",
            code="deadline_exceeded",
            param=None if self.request.preferences.timeout is None else "compass.timeout_s",
        )

    def bill(self, endpoint: Endpoint, reported: Usage | None, produced_tokens: int) -> Charge:
        """Return what a call to `endpoint` is charged, and remember it."""
        classification = self.decision.classification
        due = charge(self.request, classification, endpoint, reported, produced_tokens)
        self.charges.append(due)
        return due
