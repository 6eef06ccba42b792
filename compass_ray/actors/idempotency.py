"""Idempotency actor: the one authority over idempotency keys.

It loads, decides by `policy.idempotency`, and stores. Runs in progress are durable; the leases on
them are in memory only. After a restart all hold for one lease, so that replicas can extend what
is theirs.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from compass_ray.actors.group_commit import GroupCommit, OneThread
from compass_ray.policy.idempotency import LEASE, Keep, apply
from compass_ray.storage.idempotency import IdempotencyStore
from compass_ray.types.idempotency import Claim, Ending, Granted, Verdict

_log = logging.getLogger("compass.idempotency")

_MAX_GROUP = 64
"""Each message of a group may hold a large answer, or load one."""
_TIDY_SECONDS = 60.0


class IdempotencyActor:
    """The keys of one state folder. `clock` never steps back, `wall` is Unix time; in seconds."""

    def __init__(
        self,
        file: Path,
        keep: Keep,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        fail: Callable[[int], object] = os._exit,
    ) -> None:
        self._store = IdempotencyStore(file)
        self._disk = OneThread("idempotency")
        self._keep = keep
        self._clock = clock
        self._wall = wall
        self._fail = fail
        until = clock() + LEASE
        self._leases = dict.fromkeys(self._store.in_progress(), until)
        self._group = GroupCommit(self._commit, self._end, _MAX_GROUP)
        self._tidying: asyncio.Task[None] | None = None

    async def configure(self, keep: Keep) -> None:
        """Take over how long answers are kept, and how many."""
        self._keep = keep
        self._keep_tidying()

    async def begin(self, claim: Claim) -> Verdict:
        """Judge a claim; safe to repeat. What is granted is on disk."""
        self._keep_tidying()
        return cast("Verdict", await self._group.post(claim))

    async def end(self, endings: tuple[Ending, ...]) -> list[bool]:
        """Return which of these ends count; safe to repeat. Those are on disk.

        One that does not count is of a run whose key another has taken over.
        """
        posts = (self._group.post(ending) for ending in endings)
        return [reply is True for reply in await asyncio.gather(*posts)]

    async def extend(self, claims: tuple[str, ...]) -> None:
        """Let these runs, by claim id, hold their keys for one more lease."""
        until = self._clock() + LEASE
        for claim in claims:
            if claim in self._leases:
                self._leases[claim] = until

    async def tidy(self) -> None:
        """Forget what is old, and the oldest of what is too much."""
        dead = self._clock() - _TIDY_SECONDS
        self._leases = {claim: until for claim, until in self._leases.items() if until > dead}
        old = partial(self._store.forget_older, self._wall() - self._keep.seconds, self._leases)
        while await self._disk.run(old):
            pass
        forgotten = 0
        while some := await self._disk.run(partial(self._store.forget_beyond, self._keep.bytes)):
            forgotten += some
        if forgotten:
            _log.warning(
                "%d answers were forgotten early: more than %d bytes", forgotten, self._keep.bytes
            )

    async def _commit(self, messages: Sequence[Claim | Ending]) -> list[Verdict | bool]:
        """Decide a group and return its replies once they are true on disk."""
        claims = [one.claim if isinstance(one, Ending) else one for one in messages]
        names = {claim.name for claim in claims}
        entries = await self._disk.run(partial(self._store.load, names))
        changes, replies = apply(
            entries,
            self._leases,
            messages,
            now=self._clock(),
            unix=self._wall(),
            keep=self._keep,
        )
        if changes:
            await self._disk.run(partial(self._store.commit, changes))
        for claim, reply in zip(claims, replies, strict=True):
            before = entries.get(claim.name)
            if isinstance(reply, Granted) and before is not None and before.answer is None:
                _log.warning("%s runs anew what %s did not end", claim.id, before.claim.id)
        return replies

    def _keep_tidying(self) -> None:
        """Start the loop with the first message: a restarted actor has nobody to start it."""
        if self._tidying is None:
            self._tidying = asyncio.create_task(self._tidy_for_ever())

    async def _tidy_for_ever(self) -> None:
        while True:
            try:
                await self.tidy()
            except Exception:
                self._end()
                raise
            await asyncio.sleep(_TIDY_SECONDS)

    def _end(self) -> None:
        _log.exception("the idempotency keys cannot be written and the actor ends")
        self._fail(1)
