"""Tells webhooks of runs that are over, until they accept or it is given up.

What is to be told waits in the file of the runs, where it is with the end itself. A webhook gets an
end again where Compass was killed after it accepted and before that was noted; its `webhook-id`
says that it is the same.
"""

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from compass_ray.actors.webhook import Refusal, post
from compass_ray.policy.webhooks import (
    Redelivery,
    again_after,
    end_of_run,
    flaw_of_url,
    key_of,
    signed,
)
from compass_ray.types.settings import WebhookSettings, first_set
from compass_ray.types.workflows import Delivery, DeliveryStatus, Parcel

_log = logging.getLogger("compass.workflows")

_AT_ONCE = 32
_REDELIVERY = Redelivery(first=5.0, longest=3_600.0, attempts=20, age=86_400.0)

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[Refusal | None]]


class Outbox(Protocol):
    """What waits to be told."""

    async def due(self, now: float, most: int) -> Sequence[Parcel]:
        """Return what is due by then, in Unix seconds, the longest first."""

    async def settle(self, run: str, delivery: Delivery, due_at: float | None) -> None:
        """Note what came of an attempt, and when there is another; None: never."""


class Courier:
    """Delivers many at once, each by itself. `wall` is Unix seconds."""

    def __init__(
        self,
        outbox: Outbox,
        wall: Callable[[], float],
        *,
        chance: Callable[[], float] = random.random,
        environ: Mapping[str, str] = os.environ,
        post: Post = post,
    ) -> None:
        self._outbox = outbox
        self._wall = wall
        self._chance = chance
        self._environ = environ
        self._post = post
        self._on_their_way: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.settings: WebhookSettings | None = None
        """Nothing is told before they are known; may change at any time."""

    async def look(self) -> None:
        """Begin to deliver what is due; to be called now and then, and where a run has ended."""
        if self.settings is None:
            return
        for parcel in await self._outbox.due(self._wall(), _AT_ONCE):
            run = parcel.summary.id
            if run not in self._on_their_way and len(self._on_their_way) < _AT_ONCE:
                self._on_their_way.add(run)
                task = asyncio.create_task(self._send(parcel, self.settings))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _send(self, parcel: Parcel, settings: WebhookSettings) -> None:
        run = parcel.summary.id
        try:
            await self._deliver(parcel, settings)
        except Exception:  # noqa: BLE001  # the file's own trouble; the end is still due
            _log.exception("what came of telling the end of %s was not noted", run)
            return
        finally:
            self._on_their_way.discard(run)
        await self.look()  # another one has had no place

    async def _deliver(self, parcel: Parcel, settings: WebhookSettings) -> None:
        now, run = self._wall(), parcel.summary.id
        refusal = await self._told(parcel, settings)
        attempts, due_at = parcel.attempts + 1, None
        if refusal is None:
            delivery = Delivery("delivered", attempts)
        else:
            _log.warning("the webhook of %s does not accept: %s", run, refusal.reason)
            age, chance = now - parcel.since, self._chance()
            wait = again_after(_REDELIVERY, attempts, age, chance, refusal.retry_after)
            if wait is not None and not refusal.gone:
                due_at = self._wall() + wait
            status: DeliveryStatus = "failed" if due_at is None else "pending"
            delivery = Delivery(status, attempts, refusal.reason)
        await self._outbox.settle(run, delivery, due_at)

    async def _told(self, parcel: Parcel, settings: WebhookSettings) -> Refusal | None:
        run = parcel.summary
        if flaw_of_url(parcel.url, settings.allow) is not None:
            return Refusal("its URL is no longer allowed")
        secret = first_set(self._environ, settings.names_for(run.account))
        try:
            key = key_of(secret or "")
        except ValueError:
            return Refusal("its account has no secret to sign with")
        body = end_of_run(run)
        headers = signed(key, f"msg_{run.id}", int(self._wall()), body)
        return await self._post(parcel.url, body, headers)
