"""What happened: the facts that are journaled, counted and explained."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from compass_ray.types.usage import Money, Usage

Outcome = Literal["settled", "voided", "expired", "adjusted"]
Verdict = Literal["success", "failure", "neutral"]
"""What a call says about its endpoint; the caller's own errors are neutral."""


class Amounts(NamedTuple):
    """How much one attempt takes of each kind of limit.

    `tokens` is the most it can take, for budgets; `pace` what is expected, for the limits of a
    minute, where a mistake is made good within the minute.
    """

    usd: Money
    tokens: int = 0
    pace: int = 0
    requests: int = 1
    parallel: int = 1


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for one attempt, on every bucket of the account's path at once.

    `id` is unique for ever (`<request id>/<attempt>`), and makes every posting idempotent.
    `buckets` are ledger keys, `<account>@<window>` or `<account>@<window>#<unit>`, from the
    account up to the root, and then the provider's. `tokens` is the most the attempt can take.
    """

    id: str
    buckets: tuple[str, ...]
    amount: Money
    at: float
    """Unix seconds."""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """The one terminal record of a reservation.

    `cost` is what is charged to every bucket: the real cost when settled, 0 when voided, the
    reserved amount when expired (nobody knows what the upstream did; never too little). An
    operator's adjustment reserved nothing; it may be negative, and gives its `reason`.
    """

    reservation: Reservation
    outcome: Outcome
    cost: Money
    provider: str
    model: str
    usage: Usage
    at: float
    reason: str = ""

    @property
    def payee(self) -> str:
        """Whom the charge is booked to: a provider's model, else what became of the request."""
        return f"{self.provider}/{self.model}" if self.provider else self.outcome

    def charges(self) -> Amounts:
        """Return what every bucket is charged, by its unit; unknown tokens count as reserved."""
        if self.outcome in {"voided", "adjusted"}:
            return Amounts(self.cost, requests=0, parallel=0)
        usage = self.usage
        tokens = usage.input_tokens + usage.output_tokens or self.reservation.tokens
        return Amounts(self.cost, tokens, tokens, parallel=0)


class Attempt(NamedTuple):
    """One call that was tried, for the answer's metadata and the error's list."""

    endpoint: str
    ok: bool
    seconds: float
    error: str = ""
    """Name of our error class, empty on success; `Cancelled` where nobody waited any more."""
    message: str = ""
    cost: Money | None = None
    """Micro-dollars charged for it; None while it is under way."""
    made_good: tuple[str, ...] = ()
    """What the gateway did because the provider cannot be asked for it."""


class Evaluation(NamedTuple):
    """How good an answer looks, 0 to 1, and what was found in it."""

    score: float
    reasons: tuple[str, ...] = ()


class Assessment(NamedTuple):
    """One answer that was looked at before anybody was told, and what became of it.

    `why` names the tier it was given up for, or what kept a poor one from that.
    """

    endpoint: str
    tier: int
    evaluation: Evaluation
    outcome: Literal["good", "escalated", "kept"]
    why: str = ""


class Record(NamedTuple):
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
    replay_of: str = ""
    """The request whose answer was told again; empty for a run of its own."""
    assessments: tuple[Assessment, ...] = ()
    """Of the answers in the order they came; empty where nobody was to look at them."""
