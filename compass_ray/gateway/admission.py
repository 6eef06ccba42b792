"""One hold over everything an attempt needs: the circuit's permit and the money."""

from collections.abc import Callable
from dataclasses import dataclass

from compass_ray.gateway.circuits import CallPermit
from compass_ray.gateway.ports import Circuits, MoneyHold, Wallet
from compass_ray.policy.billing import Charge
from compass_ray.types.errors import CompassError
from compass_ray.types.events import Amounts
from compass_ray.types.routing import Endpoint


@dataclass(slots=True)
class Hold:
    """One admitted attempt; exactly one of `succeed`, `fail` and `abandon` ends it."""

    endpoint: Endpoint
    money: MoneyHold
    permit: CallPermit
    circuits: Circuits
    clock: Callable[[], float]

    def succeed(self, charge: Charge) -> None:
        """Charge the call and tell the circuit that it went well."""
        self._settle(charge)
        self.circuits.report(self.permit, None, self.clock())

    def rest(self, seconds: float) -> None:
        """Note that the provider takes nothing more for so long; the call itself goes well."""
        if seconds:
            self.circuits.rest(self.permit, seconds, self.clock())

    def fail(self, error: CompassError, charge: Charge | None) -> None:
        """Charge what was produced all the same, if anything, and tell the circuit."""
        self._settle(charge)
        self.circuits.report(self.permit, error, self.clock())

    def abandon(self, charge: Charge | None) -> None:
        """The caller left: charge what was produced; it says nothing about the endpoint."""
        self._settle(charge)
        self.circuits.release(self.permit, self.clock())

    def _settle(self, charge: Charge | None) -> None:
        if charge is None:
            self.money.void(self.clock())
        else:
            provider, model = self.endpoint.provider, self.endpoint.model
            self.money.settle(charge.cost, charge.usage, provider, model, self.clock())


class Admission:
    """Gives holds. `clock` is Unix seconds."""

    def __init__(self, wallet: Wallet, circuits: Circuits, clock: Callable[[], float]) -> None:
        self._wallet = wallet
        self._circuits = circuits
        self._clock = clock

    def cools_for(self, endpoint: Endpoint) -> float:
        """Return for how many seconds more a rate limit keeps everybody off the endpoint."""
        return self._circuits.cools_for(endpoint.id, self._clock())

    async def hold(
        self, reservation_id: str, account: str, endpoint: Endpoint, amounts: Amounts
    ) -> Hold | None:
        """Return a hold, or None while the endpoint's circuit is open.

        Raises:
            BudgetExceeded, TooManyRequests, RateLimited, QuotaExhausted, LedgerUnavailable
        """
        now = self._clock()
        permit = self._circuits.admit(endpoint.id, now)
        if permit is None:
            return None
        try:
            money = await self._wallet.hold(
                reservation_id, account, endpoint.provider, amounts, now
            )
        except BaseException:
            self._circuits.release(permit, self._clock())
            raise
        return Hold(endpoint, money, permit, self._circuits, self._clock)
