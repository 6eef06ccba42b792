"""What is asked of a workflow, and everything that can happen to its run.

The events of a run are its only truth: what it does next follows from them alone. Times are Unix
seconds, money is micro-dollars.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from compass_ray.types.accounts import Caller
from compass_ray.types.usage import Money

Kind = Literal["task", "workflow"]
Status = Literal["processing", "completed", "failed", "cancelled"]
EndStatus = Literal["completed", "failed", "cancelled"]
DeliveryStatus = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Order:
    """A plan that was found sound, and who pays for it.

    `plan` is the plan's JSON. `budget` bounds all calls together; None leaves it to the account.
    """

    id: str
    kind: Kind
    name: str
    caller: Caller
    plan: Mapping[str, Any]
    input: str
    budget: Money | None
    created_at: float
    deadline_at: float
    webhook: str | None = None
    """The URL that is told of its end."""
    alerts: tuple[int, ...] = ()
    """The percents of its budget that are told of, ascending."""


class Started(NamedTuple):
    """A call may be made now, and may cost so much; `step` is its path in the plan."""

    step: str
    attempt: int
    max_cost: Money | None
    timeout: float
    """Seconds."""
    at: float
    used: float = 0.0
    """The share of the run's budget that was told of last."""


class Finished(NamedTuple):
    """A call was answered."""

    step: str
    attempt: int
    text: str
    cost: Money
    endpoint: str
    at: float


class Failed(NamedTuple):
    """A call failed; `again` tells whether another attempt may fare better."""

    step: str
    attempt: int
    code: str
    message: str
    again: bool
    cost: Money
    at: float


class BudgetReached(NamedTuple):
    """The calls of the run have cost this share of its budget; told once for each."""

    share: float
    spent: Money
    at: float


class Value(NamedTuple):
    """What a step gives; of a vote, also the share that agreed and what the others said."""

    text: str
    confidence: float | None = None
    alternatives: tuple[str, ...] = ()


class Ended(NamedTuple):
    """The run is over; `step`, `code` and `message` tell why it failed."""

    status: EndStatus
    at: float
    text: str = ""
    confidence: float | None = None
    alternatives: tuple[str, ...] = ()
    step: str = ""
    code: str = ""
    message: str = ""


Event = Started | Finished | Failed | BudgetReached | Ended

KINDS: Mapping[type[Event], str] = MappingProxyType(
    {
        Started: "started",
        Finished: "finished",
        Failed: "failed",
        BudgetReached: "budget_reached",
        Ended: "ended",
    }
)
"""What each is called on disk and by callers."""


class Delivery(NamedTuple):
    """Whether a webhook was told of an end; `error` says why not, after so many attempts."""

    status: DeliveryStatus = "pending"
    attempts: int = 0
    error: str = ""


class Summary(NamedTuple):
    """Where a run stands, for those who list and ask."""

    id: str
    kind: Kind
    name: str
    account: str
    created_at: float
    deadline_at: float
    budget: Money | None
    status: Status
    cost: Money
    calls: int
    """Calls that were answered."""
    end: Ended | None
    webhook: Delivery | None = None


class Parcel(NamedTuple):
    """The end of a run on its way to a webhook, due `since` then, in Unix seconds."""

    summary: Summary
    url: str
    attempts: int
    since: float


def summary_of(order: Order, cost: Money, calls: int, end: Ended | None) -> Summary:
    """Return where the run of `order` stands."""
    return Summary(
        order.id,
        order.kind,
        order.name,
        order.caller.account,
        order.created_at,
        order.deadline_at,
        order.budget,
        "processing" if end is None else end.status,
        cost,
        calls,
        end,
        None if order.webhook is None else Delivery(),
    )


class CallRecord(NamedTuple):
    """What one call of a run came to; `path` and `attempt` tell which it was."""

    path: str
    attempt: int
    step: str
    """Its name in the plan, else its path there."""
    agent: str | None
    endpoint: str | None
    """Who answered; None where it failed."""
    failed: bool
    code: str
    cost: Money
    seconds: float


class Begun(NamedTuple):
    """The run that an order's id stands for; `same`: what was ordered first under it is equal."""

    summary: Summary
    same: bool


class RunQuery(NamedTuple):
    """Which of an account's runs to list, the latest first; None asks for all.

    `after` is the run that the page before ended with; the times bound `created_at`, exclusively.
    """

    account: str
    kind: Kind
    limit: int
    status: Status | None = None
    name: str | None = None
    after: str | None = None
    created_after: float | None = None
    created_before: float | None = None


class Page(NamedTuple):
    """Some runs, and whether more follow."""

    runs: Sequence[Summary]
    has_more: bool
