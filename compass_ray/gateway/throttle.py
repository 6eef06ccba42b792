"""How many calls of this replica are under way at each endpoint, and who waits for a place."""

import asyncio
from collections import OrderedDict, deque
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

    async def take(self, endpoint: Endpoint, account: str, until: float = inf) -> "Slot | None":
        """Return a place, after a bounded wait; None where the endpoint's calls are not limited.

        Nobody waits beyond `until`, on this clock. Accounts take turns.

        Raises:
            RateLimited: there is none.
        """
        bounds = self._bounds.get(endpoint.provider)
        if bounds is None:
            return None
        lane = self._lanes.get(endpoint.id)
        if lane is None:
            lane = self._lanes[endpoint.id] = _Lane(bounds)
        if not await lane.enter(account, min(bounds.wait, until - self._clock())):
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


class _Line:
    """Who waits: one of each account in turn, and of an account who came first."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: OrderedDict[str, deque[_Turn]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __len__(self) -> int:
        return sum(map(len, self._turns.values()))

    def join(self, account: str, turn: "_Turn") -> None:
        self._turns.setdefault(account, deque()).append(turn)

    def leave(self, account: str, turn: "_Turn") -> None:
        """Let go of one who waits no more; nothing where it was called already."""
        turns = self._turns.get(account, ())
        if turn in turns:
            self._turns[account].remove(turn)
            if not turns:
                del self._turns[account]

    def call(self) -> "_Turn | None":
        """Return who is next; None where nobody waits."""
        if not self._turns:
            return None
        account, turns = next(iter(self._turns.items()))
        turn = turns.popleft()
        if turns:
            self._turns.move_to_end(account)
        else:
            del self._turns[account]
        return turn


_Turn = asyncio.Future[bool]
"""Says whether there is a place."""


class _Lane:
    """One endpoint's places."""

    __slots__ = ("bounds", "in_flight", "limit", "waiting")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.limit = first(bounds)
        self.in_flight = 0
        self.waiting = _Line()

    async def enter(self, account: str, patience: float) -> bool:
        """Take a place in turn; False: none was free within so many seconds, or none will be."""
        if not self.waiting and self.in_flight < int(self.limit.calls):
            self.in_flight += 1
            return True
        turn: _Turn = asyncio.get_running_loop().create_future()
        self.waiting.join(account, turn)
        try:
            async with asyncio.timeout(patience):
                return await turn
        except TimeoutError:
            return self._has_place(account, turn)  # both may come at the same moment
        except BaseException:
            if self._has_place(account, turn):
                self.leave()
            raise

    def _has_place(self, account: str, turn: _Turn) -> bool:
        """Return whether a turn that nobody waits for any more has got its place; else drop it."""
        self.waiting.leave(account, turn)
        return not turn.cancelled() and turn.result()

    def leave(self) -> None:
        """Give a place back, and to those who wait what is free."""
        self.in_flight -= 1
        while self.in_flight < int(self.limit.calls) and (turn := self.waiting.call()) is not None:
            if not turn.cancelled():
                self.in_flight += 1
                turn.set_result(True)

    def send_away(self) -> None:
        """Let nobody wait for a place that would be of no use."""
        while (turn := self.waiting.call()) is not None:
            if not turn.cancelled():
                turn.set_result(False)


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

    def send_away(self) -> None:
        """Let nobody wait any more: the endpoint is called no more."""
        self._lane.send_away()
