import asyncio

import pytest

from compass_ray.serving.presence import Watch


class Caller:
    """One request's end of the server; `asked` is set once it is watched."""

    def __init__(self):
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def receive(self):
        self.asked.set()
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_who_leaves_is_not_worked_for():
    caller = Caller()

    async def work():
        with Watch().over(caller.receive):
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await caller.asked.wait()
    caller.left.set()

    with pytest.raises(asyncio.CancelledError):
        await working


async def test_an_answer_in_a_moment_needs_no_watch():
    brief, patient = Caller(), Caller()
    watch = Watch()

    with watch.over(brief.receive):
        pass
    with watch.over(patient.receive):
        await patient.asked.wait()

    assert not brief.asked.is_set()


async def test_who_has_the_whole_answer_may_leave():
    caller = Caller()

    with Watch().over(caller.receive) as presence:
        await caller.asked.wait()
        presence.end()
        caller.left.set()
        for _ in range(5):
            await asyncio.sleep(0)

    assert asyncio.current_task().cancelling() == 0


async def test_a_piece_of_a_body_is_no_leaving():
    caller = Caller()
    pieces = iter([{"type": "http.request"}, {"type": "http.request"}])

    async def receive():
        return next(pieces, None) or await caller.receive()

    with Watch().over(receive):
        await caller.asked.wait()

    assert asyncio.current_task().cancelling() == 0
