"""Posting what dead replicas of this host left behind in their journals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from compass_ray.storage.journal import Orphan, orphans
from compass_ray.types.events import Settlement
from compass_ray.types.money import MOST_AT_ONCE, Sync, SyncReply
from compass_ray.types.usage import Usage

_log = logging.getLogger("compass.wallet")

_LAST_WORD = 2**62
"""Sequence number of a dead replica's last message: later than any of its own."""

Send = Callable[[Sync], Awaitable[SyncReply]]
"""Exchanges one message with the Ledger; any exception means that it is not there."""


async def recover(folder: Path, send: Send, now: float, patience: float) -> None:
    """Post every orphan in `folder` and delete it; what fails is left to the next round.

    A reservation without an end is charged in full: nobody knows what the provider did.
    `now` is Unix seconds, `patience` the seconds for one message.
    """
    for orphan in orphans(folder):
        try:
            await _post(orphan, send, now, patience)
            orphan.delete()
        except Exception as error:  # noqa: BLE001  # the next round, or replica, tries again
            _log.warning(
                "the journal of dead replica %s waits: %s", orphan.owner, type(error).__name__
            )
        finally:
            orphan.release()


async def _post(orphan: Orphan, send: Send, now: float, patience: float) -> None:
    left = orphan.read()
    expired = [
        Settlement(r, "expired", r.amount, "", "", Usage(estimated=True), now)
        for r in left.reservations.values()
    ]
    settlements = (*left.settlements.values(), *expired)
    for start in range(0, len(settlements), MOST_AT_ONCE):
        some = settlements[start : start + MOST_AT_ONCE]
        async with asyncio.timeout(patience):
            await send(Sync(orphan.owner, 0, some))
    async with asyncio.timeout(patience):
        await send(Sync(orphan.owner, _LAST_WORD, (), closing=True))
    _log.warning(
        "replica %s died: %d settlements and %d expired reservations recovered",
        orphan.owner,
        len(left.settlements),
        len(expired),
    )
