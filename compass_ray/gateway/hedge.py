"""Two attempts at once, where the first takes long: whichever answers first wins."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_Attempt = Coroutine[Any, Any, _T | None]


async def race(
    first: _Attempt[_T],
    second: Callable[[], _Attempt[_T]],
    delay: Awaitable[None],
    withdraw: Callable[[Any], Awaitable[None]],
) -> _T | None:
    """Return the first answer; None where there is none.

    `second` begins after `delay`, unless the first has ended by then. The loser is cancelled, and
    has ended before this returns, so that it is charged; an answer that came at the same moment is
    withdrawn. The same happens to both where the caller leaves.
    """
    timer = asyncio.ensure_future(delay)
    running = [asyncio.create_task(first)]
    winner: asyncio.Task[_T | None] | None = None
    try:
        await asyncio.wait({*running, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not running[0].done():
            running.append(asyncio.create_task(second()))
        winner = await _first_answer(running)
    finally:
        timer.cancel()
        ending = asyncio.ensure_future(
            _end([task for task in running if task is not winner], withdraw)
        )
        try:
            await asyncio.shield(ending)
        except BaseException:
            await ending
            if winner is not None:
                await withdraw(winner.result())
            raise
    return None if winner is None else winner.result()


async def _first_answer(running: list[asyncio.Task[_T | None]]) -> asyncio.Task[_T | None] | None:
    waiting = set(running)
    while waiting:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done() and task.result() is not None:
                return task
    return None


async def _end(
    tasks: list[asyncio.Task[_T | None]], withdraw: Callable[[Any], Awaitable[None]]
) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if outcome is not None and not isinstance(outcome, BaseException):
            await withdraw(outcome)
