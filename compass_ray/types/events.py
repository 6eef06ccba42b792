"""What happened: the facts that are journaled, counted and explained."""

from dataclasses import dataclass
from typing import Literal

from compass_ray.types.usage import Money, Usage

Outcome = Literal["settled", "voided", "expired"]
Verdict = Literal["success", "failure", "neutral"]
"""What a call says about its endpoint; the caller's own errors are neutral."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money set aside for one attempt, on every bucket of the account's path at once.

    `id` is unique for ever (`<request id>/<attempt>`), and makes every posting idempotent.
    `buckets` are ledger keys, `<account>@<window>`, from the account up to the root.
    """

    id: str
    buckets: tuple[str, ...]
    amount: Money
    at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The one terminal record of a reservation.

    `cost` is what is charged to every bucket: the real cost when settled, 0 when voided, the
    reserved amount when expired (nobody knows what the upstream did; never too little).
    """

    reservation: Reservation
    outcome: Outcome
    cost: Money
    provider: str
    model: str
    usage: Usage
    at: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that was tried, for the answer's metadata and the error's list."""

    endpoint: str
    ok: bool
    seconds: float
    error: str = ""
    """Name of our error class, empty on success; `Cancelled` where nobody waited any more."""
    message: str = ""
    cost: Money | None = None
    """Micro-dollars charged for it; None while it is under way."""


@dataclass(frozen=True, slots=True)
class Record:
    """One finished request, without a word of its prompt."""

    request_id: str
    account: str
    key_name: str
    """What the configuration calls the caller's API key."""
    provider: str
    model: str
    tier: int
    status: int
    stream: bool
    attempts: tuple[Attempt, ...]
    usage: Usage
    """Of all attempts together, as `cost`."""
    cost: Money
    seconds: float
    ttft: float | None
    at: float
