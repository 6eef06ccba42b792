"""Whether a caller is still there: who left is not worked for.

Ray Serve watches every caller from the first moment, which takes two tasks and a queue for each.
So it is told not to (`serving.unwatched`), and `Presence` looks after those who wait longer than a
moment.
"""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

_A_MOMENT = 0.05


class Presence:
    """A block that is cancelled when the caller of one request leaves; it has read the body.

    Call `end` before the last of the answer is sent: then nobody need be there any more, and the
    server says of everybody that he has left.
    """

    __slots__ = ("_receive", "_task", "_timer", "_watching")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Begin to watch in a moment."""
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_A_MOMENT, self._begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no longer."""
        self.end()

    def end(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _begin(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._task.cancel()
