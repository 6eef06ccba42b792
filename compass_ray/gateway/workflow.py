"""Runs one workflow: makes the calls that its machine starts, and writes down what happens.

Nothing is acted on or shown before it is on disk. A call carries its run, step and attempt as its
idempotency key: one that was under way when a process died is asked for again, and answered from
the record where it was made already.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from compass_ray.policy.plans import read_plan
from compass_ray.policy.workflows import Machine, Pending
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import (
    AllAttemptsFailed,
    CompassError,
    Defect,
    IdempotencyUnavailable,
    RunInProgress,
)
from compass_ray.types.workflows import Ended, Event, Failed, Finished, Order, Summary, summary_of

_log = logging.getLogger("compass.workflows")

_MOST_PATIENT = 2.0
"""Seconds between two questions after the same call."""


class Gateway(Protocol):
    """Who answers the calls."""

    async def answer(self, body: Mapping[str, Any], caller: Caller, key: str) -> Mapping[str, Any]:
        """Answer a chat-completions body once per key; `compass` tells what it cost then.

        Raises:
            RunInProgress, IdempotencyUnavailable: ask again with the same key.
            CompassError: it failed, and the key is free.
        """


Note = Callable[[str, int, Sequence[Event]], Awaitable[None]]
"""Puts events of a run on disk; the first has that number."""


class Run:
    """One run, from its order and the events so far; `changed` is set anew with each event."""

    def __init__(
        self,
        order: Order,
        history: Sequence[Event],
        *,
        gateway: Gateway,
        note: Note,
        wall: Callable[[], float],
    ) -> None:
        self.order = order
        self.history = list(history)
        self.changed = asyncio.Event()
        self._gateway = gateway
        self._note = note
        self._wall = wall
        self._stopped = asyncio.Event()
        self._mistake: CompassError | None = None
        """What keeps the plan from being walked."""
        plan = read_plan(order.plan)
        self._machine = Machine(plan, order.input, order.budget, order.deadline_at, order.alerts)
        for event in history:
            self._machine.apply(event)
        self._standing = self._stands()

    def summary(self) -> Summary:
        """Return where the run stands, as far as it is on disk."""
        return self._standing

    def stop(self) -> None:
        """Cancel the run; its calls are ended, and what they made until then is charged."""
        self._stopped.set()

    async def drive(self) -> None:
        """Go on until the run is over, from wherever it stands."""
        calls = {asyncio.create_task(self._call(one)) for one in self._under_way()}
        stopped = asyncio.create_task(self._stopped.wait())
        news: list[Event] = []
        try:
            while self._machine.end is None:
                now = self._wall()
                decided = self._decided(now)
                if news or decided:
                    # Together: what an answer leads to takes no second wait for the disk.
                    await self._happen(news, decided)
                    news, started = [], frozenset(decided)
                    calls |= {
                        asyncio.create_task(self._call(one))
                        for one in self._under_way()
                        if one.started in started
                    }
                    continue
                patience = max(0.0, self.order.deadline_at - now)
                done, _ = await asyncio.wait(
                    {*calls, stopped}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                ended = calls & done
                calls -= ended
                news = [one.result() for one in ended]
                for event in news:
                    self._machine.apply(event)
        finally:
            await _cancelled({*calls, stopped})

    def _decided(self, now: float) -> Sequence[Event]:
        """Return what happens next; where the plan cannot be walked, its end.

        A mistake of ours must not keep a run, and all its restarts, for ever.
        """
        if self._stopped.is_set():
            return (Ended("cancelled", now),)
        try:
            if self._mistake is None:
                return self._machine.decide(now)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the run ends by an event
            self._mistake = _defect(exc, self.order.id)
        error = self._mistake
        return (Ended("failed", now, code=error.code or "defect", message=error.message),)

    def _under_way(self) -> Sequence[Pending]:
        try:
            return self._machine.under_way()
        except Exception as exc:  # noqa: BLE001  # as above
            self._mistake = _defect(exc, self.order.id)
            return ()

    async def _happen(self, news: Sequence[Event], decided: Sequence[Event]) -> None:
        """Put events on disk, then act on what was decided; the news are applied already."""
        events = [*news, *decided]
        await self._note(self.order.id, len(self.history), events)
        for event in decided:
            self._machine.apply(event)
        self.history.extend(events)
        self._standing = self._stands()
        self.changed.set()
        self.changed = asyncio.Event()

    def _stands(self) -> Summary:
        machine = self._machine
        return summary_of(self.order, machine.spent, machine.calls, machine.end)

    async def _call(self, pending: Pending) -> Finished | Failed:
        """Make a call, once however often it is asked for."""
        started = pending.started
        step, attempt = started.step, started.attempt
        key = f"{self.order.id}/{step}/{attempt}"
        while True:
            try:
                answer = await self._gateway.answer(pending.body, self.order.caller, key)
            except (RunInProgress, IdempotencyUnavailable) as exc:
                await asyncio.sleep(min(exc.retry_after or 0.2, _MOST_PATIENT))
            except Exception as exc:  # noqa: BLE001  # a run ends by an event, whatever happens
                error = exc if isinstance(exc, CompassError) else _defect(exc, key)
                code = error.code or type(error).__name__
                again = error.blame != "caller"
                cost = error.cost if isinstance(error, AllAttemptsFailed) else 0
                return Failed(step, attempt, code, error.message, again, cost, self._wall())
            else:
                text = answer["choices"][0]["message"].get("content") or ""
                about = answer["compass"]
                return Finished(
                    step, attempt, text, about["cost_micro_usd"], about["endpoint"], self._wall()
                )


def _defect(error: Exception, key: str) -> CompassError:
    _log.error("%s in %s", type(error).__name__, key)
    return Defect("Compass made a mistake; its log says where", code="defect")


async def _cancelled(tasks: set[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
