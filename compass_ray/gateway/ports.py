"""What the data path needs from outside, as narrow protocols."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from compass_ray.gateway.circuits import CallPermit
from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.errors import CompassError
from compass_ray.types.events import Amounts, Record
from compass_ray.types.routing import Endpoint
from compass_ray.types.usage import Money, Usage


class Provider(Protocol):
    """Calls one provider; deadlines are on the event loop's clock."""

    async def complete(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Answer:
        """Return the whole answer, or raise a CompassError."""

    async def embed(
        self, request: EmbeddingRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> Answer:
        """Return the vectors, without usage in the answer's body, or raise a CompassError."""

    def stream(
        self, request: ChatRequest, endpoint: Endpoint, state: StreamState, deadline: float
    ) -> AsyncIterator[Chunk]:
        """Yield the answer's chunks, or raise a CompassError; closing it stops the provider."""

    def prefills(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` goes on with a last message that is the assistant's."""

    @property
    def json_mode(self) -> bool:
        """Whether the provider can be told that an answer is to be some JSON object."""


class Directory(Protocol):
    """This replica's view of the providers."""

    def unavailable(self) -> dict[str, str]:
        """Return provider to reason, for those that cannot be called at all."""

    def keyless(self) -> frozenset[str]:
        """Return the providers that are out until an operator sets a variable."""

    def starts(self) -> Mapping[str, Mapping[str, float]]:
        """Return the seconds until a model answers, by provider and wire name, where it has to."""


class MoneyHold(Protocol):
    """Money set aside on every level of one account's path; ends exactly once."""

    def settle(self, cost: Money, usage: Usage, provider: str, model: str, now: float) -> None:
        """Charge what the call cost; journaled before this returns."""

    def void(self, now: float) -> None:
        """Give everything back: nothing was produced."""


class Wallet(Protocol):
    """This replica's leases on what is limited. Times are Unix seconds."""

    async def hold(
        self, reservation_id: str, account: str, provider: str, amounts: Amounts, now: float
    ) -> MoneyHold:
        """Set `amounts` aside.

        Raises:
            BudgetExceeded, TooManyRequests: an account on the path has not that much left.
            RateLimited, QuotaExhausted: the provider may not be used more.
            LedgerUnavailable: the lease is used up and nobody can renew it.
        """

    def remaining(self, account: str, now: float) -> Money | None:
        """Return what the tightest budget has left, in micro-dollars; None without one."""

    def used(self, account: str, now: float) -> float:
        """Return the used share of the budget of money that is used most; 0 without one."""


class Circuits(Protocol):
    """This replica's view of the circuit breakers of every endpoint and every provider.

    A provider's goes by its name.
    """

    def excluded(self, now: float) -> Mapping[str, str]:
        """Return endpoint id or provider to reason, for those that may not be called."""

    def admit(self, name: str, now: float) -> CallPermit | None:
        """Return a permit, or None while the circuit is open."""

    def cools_for(self, endpoint_id: str, now: float) -> float:
        """Return for how many seconds more a rate limit keeps everybody off the endpoint."""

    def report(self, permit: CallPermit, error: CompassError | None, now: float) -> None:
        """Say how the call went; None is success."""

    def rest(self, permit: CallPermit, seconds: float, now: float) -> None:
        """Keep everybody off an endpoint that has just said how long it takes nothing more."""

    def release(self, permit: CallPermit, now: float) -> None:
        """Give a permit back that says nothing about the endpoint."""


class Recorder(Protocol):
    """Counts and logs finished requests."""

    def record(self, record: Record) -> None:
        """Take note; never blocks, never fails."""

    def active(self, change: int) -> None:
        """Add to the number of requests in progress."""
