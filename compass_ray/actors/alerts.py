"""Tells somebody of an alert: in the log, and to a webhook until it accepts.

Each alert waits in its actor's file, the Ledger's or the Learner's, until it was told. The webhook
gets one again where Compass was killed after it accepted and before that was noted; its `id` says
that it is the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import orjson

from compass_ray.actors.webhook import post
from compass_ray.policy.alerts import as_json, sentence
from compass_ray.policy.webhooks import Redelivery, again_after
from compass_ray.types.money import Alert
from compass_ray.types.shifts import Shift

_log = logging.getLogger("compass.alerts")

_REDELIVERY = Redelivery(first=1.0, longest=60.0)


T = TypeVar("T", Alert, Shift)


class Waiting(Protocol[T]):
    """The alerts that nobody was told of yet."""

    async def undelivered(self) -> list[T]:
        """Return them, the oldest first."""

    async def delivered(self, alert: T) -> None:
        """Note that somebody was told."""


class Messenger(Generic[T]):
    """Delivers one alert after the other, in the background. Waits are in seconds."""

    def __init__(
        self,
        waiting: Waiting[T],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._waiting: Waiting[T] = waiting
        self._sleep = sleep
        self._news = False
        self._running: asyncio.Task[None] | None = None
        self.webhook: str | None = None
        """Where to post; may change at any time."""

    def look(self) -> None:
        """There may be something to tell."""
        self._news = True
        if self._running is None:
            self._running = asyncio.create_task(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._news:
                self._news = False
                for alert in await self._waiting.undelivered():
                    _log.warning("%s", sentence(alert))
                    await self._post(alert)
                    await self._waiting.delivered(alert)
        except Exception:  # noqa: BLE001  # telling must not end the books
            _log.exception("alerts wait until the next one")
        finally:
            self._running = None

    async def _post(self, alert: T) -> None:
        attempts = 0
        while self.webhook is not None:
            refusal = await post(self.webhook, orjson.dumps(as_json(alert)), {})
            if refusal is None:
                return
            _log.warning("the webhook for alerts does not accept: %s", refusal.reason)
            attempts += 1
            # One after the other: there is nobody to be out of step with.
            await self._sleep(again_after(_REDELIVERY, attempts, age=0.0, u=0.0) or 0.0)
