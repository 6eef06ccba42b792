"""One hold over everything an attempt needs: a place, the permits of two circuits, the money."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from compass_ray.gateway.circuits import CallPermit
from compass_ray.gateway.ports import Circuits, MoneyHold, Wallet
from compass_ray.gateway.throttle import Slot, Throttle
from compass_ray.policy.billing import Charge
from compass_ray.policy.verdict import concerns_provider
from compass_ray.types.errors import CompassError, ProviderError, RateLimited
from compass_ray.types.events import Amounts
from compass_ray.types.routing import Endpoint


@dataclass(slots=True)
class Hold:
    """One admitted attempt; exactly one of `succeed`, `fail` and `abandon` ends it."""

    endpoint: Endpoint
    money: MoneyHold
    permit: CallPermit
    provider_permit: CallPermit
    circuits: Circuits
    clock: Callable[[], float]
    slot: Slot | None = None
    """Where the endpoint's calls at once are limited."""

    def succeed(self, charge: Charge) -> None:
        """Charge the call and tell the circuits that it went well."""
        self._settle(charge)
        if self.slot is not None:
            self.slot.succeed()
        now = self.clock()
        self.circuits.report(self.permit, None, now)
        self.circuits.report(self.provider_permit, None, now)

    def rest(self, seconds: float) -> None:
        """Note that the provider takes nothing more for so long; the call itself goes well."""
        if seconds:
            self.circuits.rest(self.permit, seconds, self.clock())

    def fail(self, error: CompassError, charge: Charge | None) -> None:
        """Charge what was produced all the same, if anything, and tell the circuits."""
        self._settle(charge)
        now = self.clock()
        if self.slot is not None and self.slot.fail(error):
            _release(self.circuits, (self.permit, self.provider_permit), now)
            return
        if concerns_provider(error):
            self.circuits.release(self.permit, now)
            self.circuits.report(self.provider_permit, error, now)
            return
        self.circuits.report(self.permit, error, now)
        if self.slot is not None and self.endpoint.id in self.circuits.excluded(now):
            self.slot.send_away()
        if isinstance(error, ProviderError | RateLimited):
            self.circuits.report(self.provider_permit, None, now)
        else:
            self.circuits.release(self.provider_permit, now)

    def abandon(self, charge: Charge | None) -> None:
        """The caller left: charge what was produced; it says nothing about the endpoint."""
        self._settle(charge)
        if self.slot is not None:
            self.slot.abandon()
        _release(self.circuits, (self.permit, self.provider_permit), self.clock())

    def _settle(self, charge: Charge | None) -> None:
        if charge is None:
            self.money.void(self.clock())
        else:
            provider, model = self.endpoint.provider, self.endpoint.model
            self.money.settle(charge.cost, charge.usage, provider, model, self.clock())


class Admission:
    """Gives holds. `clock` is Unix seconds."""

    def __init__(
        self,
        wallet: Wallet,
        circuits: Circuits,
        clock: Callable[[], float],
        throttle: Throttle | None = None,
    ) -> None:
        self._wallet = wallet
        self._circuits = circuits
        self._clock = clock
        self._throttle = throttle

    def cools_for(self, endpoint: Endpoint) -> float:
        """Return for how many seconds more a rate limit keeps everybody off the endpoint."""
        return self._circuits.cools_for(endpoint.id, self._clock())

    def hold(
        self,
        reservation_id: str,
        account: str,
        endpoint: Endpoint,
        amounts: Amounts,
        until: float,
    ) -> Awaitable[Hold | None]:
        """Return a hold, or None while the endpoint's circuit or its provider's is open.

        Where its calls at once are limited, nobody waits for a place beyond `until`, in monotonic
        seconds.

        Raises:
            BudgetExceeded, TooManyRequests, RateLimited, QuotaExhausted, LedgerUnavailable
        """
        if self._throttle is None:
            return self._hold(reservation_id, account, endpoint, amounts)
        attempt = partial(self._hold, reservation_id, account, endpoint, amounts)
        return _placed(self._throttle.take(endpoint, account, until), attempt)

    async def _hold(
        self, reservation_id: str, account: str, endpoint: Endpoint, amounts: Amounts
    ) -> Hold | None:
        now = self._clock()
        permit = self._circuits.admit(endpoint.id, now)
        if permit is None:
            return None
        provider_permit = self._circuits.admit(endpoint.provider, now)
        if provider_permit is None:
            self._circuits.release(permit, now)
            return None
        try:
            money = await self._wallet.hold(
                reservation_id, account, endpoint.provider, amounts, now
            )
        except BaseException:
            _release(self._circuits, (permit, provider_permit), self._clock())
            raise
        return Hold(endpoint, money, permit, provider_permit, self._circuits, self._clock)


async def _placed(
    place: Awaitable[Slot | None], attempt: Callable[[], Awaitable[Hold | None]]
) -> Hold | None:
    """Return the hold of an attempt that has a place, and give that back where there is none."""
    slot = await place
    hold = None
    try:
        hold = await attempt()
    finally:
        if hold is None and slot is not None:
            slot.abandon()
    if hold is not None:
        hold.slot = slot
    return hold


def _release(circuits: Circuits, permits: Iterable[CallPermit], now: float) -> None:
    for permit in permits:
        circuits.release(permit, now)
