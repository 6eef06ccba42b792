"""Group commit: messages that wait while a group is being written form the next group.

Each is answered only when its group is on disk. If the disk refuses, nobody is answered and the
process should end: after a restart the facts are what the disk says, and replicas repeat what was
not acknowledged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

_Message = TypeVar("_Message")
_Reply = TypeVar("_Reply")
_T = TypeVar("_T")


class OneThread:
    """The one thread that uses a file, one work after the other."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class GroupCommit(Generic[_Message, _Reply]):
    """Hands messages to `commit` in groups of at most `most`, one group at a time.

    `commit` returns one reply per message once they are durable; after its failure `failed` is
    called.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_Message]], Awaitable[Sequence[_Reply]]],
        failed: Callable[[], object],
        most: int,
    ) -> None:
        self._commit = commit
        self._failed = failed
        self._most = most
        self._waiting: list[tuple[_Message, asyncio.Future[_Reply]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def post(self, message: _Message) -> _Reply:
        """Return the reply to `message`: it is on disk."""
        answer: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, answer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                replies = await self._commit([message for message, _ in group])
                for (_, answer), reply in zip(group, replies, strict=True):
                    if not answer.done():
                        answer.set_result(reply)
        except Exception:
            self._failed()
            raise
        self._writing = None
