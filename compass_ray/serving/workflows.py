"""What callers may ask of tasks and workflows. JSON-ready.

A task is a workflow of one call; what differs is how it is asked for.
"""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from compass_ray.policy.standing import analysis_as_json, as_json
from compass_ray.serving.admin import json_object
from compass_ray.serving.orders import Orders
from compass_ray.serving.orphans import Orphans
from compass_ray.serving.run_queries import (
    LONGEST_WAIT,
    Said,
    analysing,
    listing,
    number,
    resuming,
    waiting,
)
from compass_ray.serving.run_streams import Events, Told
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    WorkflowsUnavailable,
)
from compass_ray.types.run_analytics import Analysis, AnalysisQuery
from compass_ray.types.settings import WebhookSettings
from compass_ray.types.workflows import Begun, Ended, Event, Kind, Order, Page, RunQuery, Summary

_log = logging.getLogger("compass.workflows")
_T = TypeVar("_T")

_BEAT = 2.0
_LONG_POLL = 10.0
"""A stream without news says at least so often that it lives; in seconds."""
_AGAIN = 0.2
"""Seconds until a silent actor is asked again."""


class Authority(Protocol):
    """The Workflows actor, directly or through a handle."""

    async def tend(self, webhooks: WebhookSettings) -> None:
        """Take up what is not over, and tell webhooks what is due."""

    async def create(self, order: Order) -> Begun | None:
        """Begin a run, once per id; None where there is no room."""

    async def summary(self, run: str, account: str) -> Summary | None:
        """Return where an account's run stands; None where it has none of that id."""

    async def over(self, run: str, account: str, wait: float) -> Summary | None:
        """Return the same once the run is over, or `wait` seconds passed."""

    async def listed(self, query: RunQuery) -> Page | None:
        """Return a page of an account's runs; None where `after` is none of them."""

    async def analysis(self, query: AnalysisQuery) -> Analysis:
        """Return what workflows that are over came to, all together."""

    async def events(
        self, run: str, account: str, after: int, wait: float
    ) -> Sequence[Event] | None:
        """Return the events from number `after` on, once there are any or `wait` seconds passed."""

    async def cancel(self, run: str, account: str) -> Summary | None:
        """End a run, where it is not over; return where it stands then."""


class Workflows:
    """Orders, and questions about them."""

    def __init__(self, authority: Authority, orders: Orders) -> None:
        self._authority = authority
        self._orders = orders
        self._orphans = Orphans()

    async def to_its_end(self, work: Coroutine[Any, Any, _T], account: str, key: str) -> _T:
        """Return what `work`, a run's call with that key, returns; see `Orphans`."""
        run = key.partition("/")[0]

        async def is_wanted() -> bool:
            found = await self._authority.summary(run, account)
            return found is not None and found.end is None

        return await self._orphans.to_its_end(work, run, is_wanted)

    async def tend(self) -> None:
        """See to it, until cancelled, that runs go on after the actor's restart."""
        while True:
            try:
                await self._authority.tend(self._orders.webhooks)
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                _log.warning("the workflows are silent: %s", type(error).__name__)
            await asyncio.sleep(_BEAT)

    async def create(
        self, caller: Caller, kind: Kind, asked: Any, key: str | None
    ) -> tuple[dict[str, object], bool]:
        """Begin a run, and return where it stands; with an Idempotency-Key, once per key.

        With `wait_s` it may stand at its end: then the second is true.

        Raises:
            InvalidRequest, InvalidPlan: names the field; nothing ran.
            IdempotencyKeyReused: the key stands for another order.
            WorkflowsUnavailable
        """
        asked = json_object(asked)
        wait = number(asked, "wait_s", LONGEST_WAIT)
        order, told = await self._orders.read(caller, kind, asked, key)
        begun = await self._asked(self._authority.create(order))
        if begun is None:
            raise WorkflowsUnavailable("too many workflows are under way", retry_after=5.0)
        if not begun.same:
            raise IdempotencyKeyReused(
                "this Idempotency-Key stands for another order",
                code="idempotency_key_reused",
                param="Idempotency-Key",
            )
        if wait is None:
            return as_json(begun.summary) | told, False
        over = await self._over(begun.summary, wait)
        return as_json(over) | told, over.end is not None

    async def summary(
        self, caller: Caller, kind: Kind, run: str, said: Said = ()
    ) -> tuple[dict[str, object], bool]:
        """Return where a run of the caller's account stands, and whether its end was waited for.

        The second is false where it was, with `wait_s`, and did not come.

        Raises:
            InvalidRequest: names the field.
            NotFound: no such run, or another account's.
            WorkflowsUnavailable
        """
        wait = waiting(said)
        found = _of_kind(await self._asked(self._authority.summary(run, caller.account)), kind, run)
        if wait is None:
            return as_json(found), True
        over = await self._over(found, wait)
        return as_json(over), over.end is not None

    async def listed(self, caller: Caller, kind: Kind, said: Said) -> dict[str, object]:
        """Return a page of the runs of the caller's account, the latest first.

        Raises:
            InvalidRequest: names the field.
            WorkflowsUnavailable
        """
        query = listing(said, kind, caller.account)
        page = await self._asked(self._authority.listed(query))
        if page is None:
            raise InvalidRequest(f"after is no {kind} of this account", param="after")
        return {"data": [as_json(one) for one in page.runs], "has_more": page.has_more}

    async def analytics(self, caller: Caller, said: Said) -> dict[str, object]:
        """Return what workflows that are over came to, by name, agent, step or model.

        Raises:
            InvalidRequest: names the field.
            Forbidden: another account's, and the caller's key is no admin's.
            WorkflowsUnavailable
        """
        query = analysing(said, caller, self._orders.wall())
        return analysis_as_json(query, await self._asked(self._authority.analysis(query)))

    async def cancel(self, caller: Caller, kind: Kind, run: str) -> dict[str, object]:
        """End a run of the caller's account; one that is over stays as it is.

        Raises:
            NotFound, WorkflowsUnavailable
        """
        await self.summary(caller, kind, run)
        found = await self._asked(self._authority.cancel(run, caller.account))
        return as_json(_of_kind(found, kind, run))

    async def stream(
        self, caller: Caller, kind: Kind, run: str, said: Said, seen: str | None = None
    ) -> Events:
        """Return the run's events from after the one that was `seen`, by header or query.

        Raises:
            InvalidRequest: names the field; it is no event's id.
            NotFound, WorkflowsUnavailable
        """
        first = resuming(said, seen)
        await self.summary(caller, kind, run)
        return self._events(caller.account, run, first)

    async def _events(self, account: str, run: str, after: int) -> Events:
        while True:
            events = await self._asked(self._authority.events(run, account, after, _LONG_POLL))
            for place, event in enumerate(events or (), after):
                yield Told(place, event)
                if isinstance(event, Ended):
                    return
            if not events:
                ended = await self._asked(self._authority.summary(run, account))
                if ended is None or ended.end is not None:
                    return
                yield None
            after += len(events or ())

    async def _over(self, one: Summary, seconds: float) -> Summary:
        """Return where a run stands once it is over, or so many seconds have passed.

        Its owner may die and come back meanwhile.
        """
        clock = asyncio.get_running_loop()
        until = clock.time() + seconds
        while one.end is None and (left := until - clock.time()) > 0:
            try:
                found = await self._authority.over(one.id, one.account, min(left, _LONG_POLL))
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                _log.warning("the owner of %s is silent: %s", one.id, type(error).__name__)
                await asyncio.sleep(min(left, _AGAIN))
                continue
            if found is None:
                break
            one = found
        return one

    async def _asked(self, question: Awaitable[_T]) -> _T:
        try:
            return await question
        except Exception as error:
            _log.warning("the workflows are silent: %s", type(error).__name__)
            raise WorkflowsUnavailable("the workflows are silent", retry_after=2.0) from error


def _of_kind(found: Summary | None, kind: Kind, run: str) -> Summary:
    if found is None or found.kind != kind:
        raise NotFound(f"no {kind} {run!r}", code=f"unknown_{kind}")
    return found
