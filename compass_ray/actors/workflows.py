"""Workflows actor: owns every run, as one task each on one event loop.

A run waits for models nearly all the time, so one process drives them all. Each goes on from its
events on disk: after a restart, with the first message, those that are not over are taken up.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from compass_ray.actors.courier import Courier
from compass_ray.actors.group_commit import GroupCommit, OneThread
from compass_ray.gateway.workflow import Gateway, Run
from compass_ray.policy.plans import read_plan
from compass_ray.policy.run_calls import call_records
from compass_ray.policy.standing import totals
from compass_ray.storage.run_analytics import RunAnalytics
from compass_ray.storage.workflows import Entry, WorkflowStore
from compass_ray.types.errors import InvalidPlan
from compass_ray.types.run_analytics import Analysis, AnalysisQuery
from compass_ray.types.settings import WebhookSettings
from compass_ray.types.workflows import (
    Begun,
    Delivery,
    Ended,
    Event,
    Order,
    Page,
    Parcel,
    RunQuery,
    Summary,
)

_log = logging.getLogger("compass.workflows")

MOST_RUNS = 1_000
"""Under way at once."""
_MAX_GROUP = 256
_KEPT_SECONDS = 30 * 86_400.0
_TIDY_SECONDS = 600.0


class WorkflowsActor:
    """The runs of one state folder; `gateway` answers their calls. `wall` is Unix seconds."""

    def __init__(
        self,
        file: Path,
        gateway: Gateway,
        wall: Callable[[], float] = time.time,
        fail: Callable[[int], object] = os._exit,
    ) -> None:
        self._store = WorkflowStore(file)
        self._disk = OneThread("workflows")
        self._analytics = RunAnalytics(file)
        self._analyst = OneThread("workflows-analytics")
        self._gateway = gateway
        self._wall = wall
        self._fail = fail
        self._runs: dict[str, Run] = {}
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._accepting: dict[str, asyncio.Task[Order | None]] = {}
        self._group = GroupCommit[Order | Entry, None](self._commit, self._end, _MAX_GROUP)
        self._courier = Courier(self, wall)
        self._resumed: asyncio.Task[None] | None = None
        self._tidied_at = 0.0

    async def tend(self, webhooks: WebhookSettings) -> None:
        """Take up what is not over, tell webhooks what is due, and forget what is old.

        To be called now and then, also for news of the settings.
        """
        await self._resume()
        self._courier.settings = webhooks
        await self._courier.look()
        if self._wall() - self._tidied_at > _TIDY_SECONDS:
            self._tidied_at = self._wall()
            old = partial(self._store.forget_older, self._wall() - _KEPT_SECONDS)
            while await self._disk.run(old):
                pass

    async def create(self, order: Order) -> Begun | None:
        """Begin a run, once per id; None where there is no room. It is on disk."""
        await self._resume()
        if order.id not in self._accepting:
            self._accepting[order.id] = asyncio.create_task(self._accept(order))
        first = await asyncio.shield(self._accepting[order.id])
        summary = await self.summary(order.id, order.caller.account)
        if first is None or summary is None:
            return None
        return Begun(summary, same=_asked(first) == _asked(order))

    async def summary(self, run: str, account: str) -> Summary | None:
        """Return where an account's run stands; None where it has none of that id."""
        await self._resume()
        if (live := self._runs.get(run)) is not None:
            found: Summary | None = live.summary()
        else:
            found = await self._disk.run(partial(self._store.summary, run))
        return found if found is not None and found.account == account else None

    async def over(self, run: str, account: str, wait: float) -> Summary | None:
        """Return the same once the run is over, or `wait` seconds passed."""
        found = await self.summary(run, account)
        if found is None or found.end is not None:
            return found
        if (driving := self._driving.get(run)) is not None:
            await asyncio.wait({driving}, timeout=wait)
        else:
            await asyncio.sleep(wait)  # it goes on in a new process
        return await self.summary(run, account)

    async def listed(self, query: RunQuery) -> Page | None:
        """Return a page of an account's runs; None where `after` is none of them."""
        await self._resume()
        page = await self._disk.run(partial(self._store.listed, query))
        return None if page is None else page._replace(runs=[*map(self._as_of_now, page.runs)])

    async def analysis(self, query: AnalysisQuery) -> Analysis:
        """Return what workflows that are over came to, all together."""
        return await self._analyst.run(partial(self._analytics.analysis, query))

    async def events(
        self, run: str, account: str, after: int, wait: float
    ) -> Sequence[Event] | None:
        """Return the events from number `after` on, once there are any or `wait` seconds passed.

        None where the account has no such run.
        """
        found = await self.summary(run, account)
        if found is None:
            return None
        live = self._runs.get(run)
        if live is None:
            events: Sequence[Event] = await self._disk.run(partial(self._store.events, run, after))
            if not events and found.end is None:
                await asyncio.sleep(wait)  # it goes on in a new process
            return events
        if len(live.history) <= after and live.summary().end is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await live.changed.wait()
        return live.history[after:]

    async def cancel(self, run: str, account: str) -> Summary | None:
        """End a run, where it is not over; return where it stands then."""
        if await self.summary(run, account) is not None and run in self._driving:
            self._runs[run].stop()
            await asyncio.wait({self._driving[run]})
        return await self.summary(run, account)

    async def due(self, now: float, most: int) -> Sequence[Parcel]:
        """Return the ends that webhooks are to be told of, the longest due first."""
        return await self._disk.run(partial(self._store.due, now, most))

    async def settle(self, run: str, delivery: Delivery, due_at: float | None) -> None:
        """Note what came of telling a webhook, and when it is told again; None: never."""
        await self._disk.run(partial(self._store.settle, run, delivery, due_at))

    async def _accept(self, order: Order) -> Order | None:
        """Return what was ordered first under that id; None where there is no room."""
        try:
            known = await self._disk.run(partial(self._store.order, order.id))
            if known is not None or len(self._runs) >= MOST_RUNS:
                return known
            await self._group.post(order)
            self._take_up(order, ())
            return order
        finally:
            del self._accepting[order.id]

    def _as_of_now(self, one: Summary) -> Summary:
        """Return a run that is not over with what it has come to by now."""
        live = self._runs.get(one.id) if one.end is None else None
        if live is None:
            return one
        now = live.summary()
        return one._replace(cost=now.cost, calls=now.calls)

    async def _history(self, run: str) -> Sequence[Event]:
        return await self._disk.run(partial(self._store.events, run))

    def _run(self, order: Order, history: Sequence[Event]) -> Run:
        return Run(order, history, gateway=self._gateway, note=self._note, wall=self._wall)

    async def _resume(self) -> None:
        """Take up all runs that are not over, once in this process."""
        if self._resumed is None:
            self._resumed = asyncio.create_task(self._take_up_all())
        await asyncio.shield(self._resumed)

    async def _take_up_all(self) -> None:
        for run in await self._disk.run(self._store.unfinished):
            order = await self._disk.run(partial(self._store.order, run))
            if order is None:
                continue
            history = await self._history(run)
            try:
                self._take_up(order, history)
            except InvalidPlan as error:
                end = Ended("failed", self._wall(), code="plan_unreadable", message=error.message)
                await self._note(run, len(history), [end])
            else:
                _log.warning("%s goes on after a restart", run)

    def _take_up(self, order: Order, history: Sequence[Event]) -> None:
        run = self._runs[order.id] = self._run(order, history)
        driving = self._driving[order.id] = asyncio.create_task(run.drive())
        driving.add_done_callback(partial(self._over, order.id))

    def _over(self, run: str, driven: asyncio.Task[None]) -> None:
        """Let go of a run; one that stopped without an end is taken up again by a new process."""
        del self._driving[run]
        del self._runs[run]
        if not driven.cancelled() and (error := driven.exception()) is not None:
            _log.error("%s stopped: %s", run, type(error).__name__, exc_info=error)

    async def _note(self, run: str, first: int, events: Sequence[Event]) -> None:
        if not isinstance(events[-1], Ended):
            await self._group.post(Entry(run, first, events))
            return
        live = self._runs.get(run)
        before = await self._history(run) if live is None else live.history
        history = [*before, *events]
        plan = None if live is None else read_plan(live.order.plan)
        records = call_records(plan, history)
        await self._group.post(Entry(run, first, events, *totals(history), records))
        if live is not None and live.order.webhook is not None:
            await self._courier.look()

    async def _commit(self, messages: Sequence[Order | Entry]) -> list[None]:
        orders = [one for one in messages if isinstance(one, Order)]
        entries = [one for one in messages if not isinstance(one, Order)]
        await self._disk.run(partial(self._store.commit, orders, entries))
        return [None] * len(messages)

    def _end(self) -> None:
        _log.exception("the workflows cannot be written and the actor ends")
        self._fail(1)


def _asked(order: Order) -> tuple[object, ...]:
    """Return what is to be equal where two orders have one id."""
    return order.plan, order.input, order.webhook
