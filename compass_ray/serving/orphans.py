"""Calls that outlive whoever asked for them, because he died and will ask again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

_log = logging.getLogger("compass")
_T = TypeVar("_T")

_BEAT = 2.0
"""Seconds between two questions whether a call is still wanted."""


class Orphans:
    """Calls of a replica whose owner has died; each has a key under which its answer is found."""

    def __init__(self) -> None:
        self._orphans: set[asyncio.Task[None]] = set()

    async def to_its_end(
        self, work: Coroutine[Any, Any, _T], owner: str, is_wanted: Callable[[], Awaitable[bool]]
    ) -> _T:
        """Return what `work` returns.

        Who waits for it may be gone because its owner has died: then it goes on, so that the owner
        finds its answer later. Where the owner wants it no more, it is ended.
        """
        task = asyncio.create_task(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            orphan = asyncio.create_task(_while_wanted(task, owner, is_wanted))
            self._orphans.add(orphan)
            orphan.add_done_callback(self._orphans.discard)
            raise


async def _while_wanted(
    task: asyncio.Task[Any], owner: str, is_wanted: Callable[[], Awaitable[bool]]
) -> None:
    while not task.done():
        try:
            if not await is_wanted():
                task.cancel()
        except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
            _log.warning("the owner of %s is silent: %s", owner, type(error).__name__)
        await asyncio.wait({task}, timeout=_BEAT)
    if not task.cancelled():
        task.exception()  # kept or freed under its key; nobody else is to hear of it
