"""What is asked of a workflow, and everything that can happen to its run.

The events of a run are its only truth: what it does next follows from them alone. Times are Unix
seconds, money is micro-dollars.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from compass_ray.types.accounts import Caller
from compass_ray.types.usage import Money

Kind = Literal["task", "workflow"]
Status = Literal["processing", "completed", "failed", "cancelled"]
EndStatus = Literal["completed", "failed", "cancelled"]


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


class Started(NamedTuple):
    """A call may be made now, and may cost so much; `step` is its path in the plan."""

    step: str
    attempt: int
    max_cost: Money | None
    timeout: float
    """Seconds."""
    at: float


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


Event = Started | Finished | Failed | Ended


class Summary(NamedTuple):
    """Where a run stands, for those who list and ask."""

    order: Order
    status: Status
    cost: Money
    calls: int
    """Calls that were answered."""
    end: Ended | None
