"""A value that many replicas follow by long poll.

A follower passes the version it knows and is answered at once when that is not the current one,
else as soon as it changes. Versions start at the Unix time in milliseconds, so those of a
restarted actor are other ones: a follower never takes a new actor's value for its old one.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Versioned(Generic[T]):
    """A value, its version, and those who wait for the next one. For one event loop."""

    def __init__(self, value: T, wall: Callable[[], float] = time.time) -> None:
        self._value = value
        self._version = int(wall() * 1000)
        self._changed = asyncio.Event()

    @property
    def version(self) -> int:
        """The current version; grows by one with every change."""
        return self._version

    @property
    def value(self) -> T:
        """The current value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake everyone who waits."""
        self._value = value
        self._version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, version: int, wait: float) -> tuple[int, T]:
        """Return version and value once the version is not `version`, or after `wait` seconds."""
        if version == self._version:
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass  # nothing has changed, and that is an answer
        return self._version, self._value
