"""How many calls of this replica are under way at each endpoint, and who waits for a place."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import NamedTuple

from compass_ray.policy.concurrency import (
    Bounds,
    first,
    gives_way,
    is_overload,
    lowered,
    raised,
)
from compass_ray.types.errors import CompassError, RateLimited
from compass_ray.types.routing import Endpoint


class Load(NamedTuple):
    """One endpoint's calls: how many it may have at once, has, and would have."""

    limit: int
    in_flight: int
    waiting: int


class Throttle:
    """Limits the calls of those providers that have bounds; `clock` is monotonic seconds."""

    def __init__(self, bounds: Mapping[str, Bounds], clock: Callable[[], float]) -> None:
        """Take the bounds by provider."""
        self._bounds = bounds
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}

    async def take(self, endpoint: Endpoint, until: float = inf) -> "Slot | None":
        """Return a place, after a bounded wait; None where the endpoint's calls are not limited.

        Nobody waits beyond `until`, on this clock.

        Raises:
            RateLimited: there is none.
        """
        bounds = self._bounds.get(endpoint.provider)
        if bounds is None:
            return None
        lane = self._lanes.get(endpoint.id)
        if lane is None:
            lane = self._lanes[endpoint.id] = _Lane(bounds)
        if not await lane.enter(min(bounds.wait, until - self._clock())):
            raise RateLimited(
                f"{endpoint.id} takes {int(lane.limit.calls)} calls at once, all under way",
                code="concurrency_limit",
                retry_after=bounds.wait,
            )
        return Slot(lane, self._clock)

    def loads(self) -> Mapping[str, Load]:
        """Return what is under way by endpoint id, where something has been."""
        return {
            name: Load(int(lane.limit.calls), lane.in_flight, len(lane.waiting))
            for name, lane in self._lanes.items()
        }


class _Lane:
    """One endpoint's places."""

    __slots__ = ("bounds", "in_flight", "limit", "waiting")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.limit = first(bounds)
        self.in_flight = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, patience: float) -> bool:
        """Take a place in the order of asking; False: none was free within so many seconds."""
        if not self.waiting and self.in_flight < int(self.limit.calls):
            self.in_flight += 1
            return True
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            async with asyncio.timeout(patience):
                await turn
        except TimeoutError:
            return self._called(turn)  # both may come at the same moment
        except BaseException:
            if self._called(turn):
                self.leave()
            raise
        return True

    def _called(self, turn: asyncio.Future[None]) -> bool:
        """Return whether a turn that nobody waits for any more has got its place; else drop it."""
        if turn in self.waiting:
            self.waiting.remove(turn)
        return not turn.cancelled()

    def leave(self) -> None:
        """Give a place back, and to those who wait what is free."""
        self.in_flight -= 1
        while self.waiting and self.in_flight < int(self.limit.calls):
            turn = self.waiting.popleft()
            if turn.cancelled():
                continue
            self.in_flight += 1
            turn.set_result(None)


class Slot:
    """A place; exactly one of its methods ends it."""

    __slots__ = ("_began_at", "_clock", "_lane")

    def __init__(self, lane: _Lane, clock: Callable[[], float]) -> None:
        self._lane = lane
        self._clock = clock
        self._began_at = clock()

    def succeed(self) -> None:
        """Learn from an answer."""
        lane = self._lane
        lane.limit = raised(lane.limit, lane.in_flight, lane.bounds)
        lane.leave()

    def fail(self, error: CompassError) -> bool:
        """Learn from a failure; return whether a lower limit is all that it takes."""
        lane = self._lane
        handled = gives_way(lane.limit, error, lane.bounds)
        if is_overload(error):
            lane.limit = lowered(lane.limit, self._began_at, self._clock(), lane.bounds)
        lane.leave()
        return handled

    def abandon(self) -> None:
        """Learn nothing."""
        self._lane.leave()
