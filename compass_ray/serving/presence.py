"""Whether a caller is still there: who left is not worked for.

Ray Serve watches every caller from the first moment, which takes two tasks and a queue for each.
So it is told not to (`serving.unwatched`), and `Watch` looks after those who wait longer than a
moment.
"""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

_A_MOMENT = 0.05


class Watch:
    """Begins, every moment, to watch the callers who have waited since before the last one.

    One timer for all: most answers come before anybody has to be watched.
    """

    def __init__(self) -> None:
        self._new: set[Presence] = set()
        self._waiting: set[Presence] = set()
        self._timer: asyncio.TimerHandle | None = None

    def over(self, receive: Receive) -> "Presence":
        """Return the block for one request, whose body has been read."""
        return Presence(self, receive)

    def add(self, presence: "Presence") -> None:
        """Watch this caller in one to two moments."""
        self._new.add(presence)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_A_MOMENT, self._look)

    def remove(self, presence: "Presence") -> None:
        """Leave this caller alone."""
        self._new.discard(presence)
        self._waiting.discard(presence)

    def _look(self) -> None:
        for presence in self._waiting:
            presence.begin()
        self._waiting, self._new = self._new, set()
        self._timer = None
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(_A_MOMENT, self._look)


class Presence:
    """A block that is cancelled when the caller of one request leaves.

    Call `end` before the last of the answer is sent: then nobody need be there any more, and the
    server says of everybody that he has left.
    """

    __slots__ = ("_receive", "_task", "_watch", "_watching")

    def __init__(self, watch: Watch, receive: Receive) -> None:
        self._watch = watch
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Be watched from a moment on."""
        self._task = asyncio.current_task()
        self._watch.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Be watched no longer."""
        self.end()

    def begin(self) -> None:
        """Be watched from now on."""
        self._watching = asyncio.create_task(self._follow())

    def end(self) -> None:
        """Be watched no longer."""
        self._watch.remove(self)
        if self._watching is not None:
            self._watching.cancel()

    async def _follow(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._task.cancel()
