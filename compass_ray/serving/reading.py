"""Whether a caller still reads its stream.

A server's `send` waits while the caller's connection is full, and what is not sent is not read from
the provider either: nothing piles up. But a caller who never reads again would keep its provider's
connection, and its money on hold, for ever.
"""

import asyncio
from types import TracebackType
from typing import Self


class Reading:
    """A block that ends with TimeoutError where one send in it takes more than `patience` seconds.

    It is noticed after two at the latest: set `sending` around each send, and count it in `sent`.
    So a send costs no timer; one looks after the whole stream, now and then.
    """

    __slots__ = ("_limit", "_loop", "_patience", "_seen", "_timer", "sending", "sent")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._seen = -1
        self.sending = False
        self.sent = 0

    async def __aenter__(self) -> Self:
        """Begin to look."""
        await self._limit.__aenter__()
        self._timer = self._loop.call_later(self._patience, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Look no longer."""
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, traceback)

    def _look(self) -> None:
        if self.sending and self.sent == self._seen:
            self._limit.reschedule(self._loop.time())
            return
        self._seen = self.sent if self.sending else -1
        self._timer = self._loop.call_later(self._patience, self._look)
