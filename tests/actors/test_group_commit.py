import asyncio

import pytest

from compass_ray.actors.group_commit import GroupCommit, OneThread


class Disk:
    """Takes groups down one by one, each when it is let."""

    def __init__(self):
        self.groups = []
        self.may_write = asyncio.Semaphore(0)
        self.refuses = False
        self.failures = 0

    async def commit(self, messages):
        self.groups.append(list(messages))
        await self.may_write.acquire()
        if self.refuses:
            raise OSError("the disk is full")
        return [message * 10 for message in messages]

    def fail(self):
        self.failures += 1


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def group(disk):
    return GroupCommit(disk.commit, disk.fail, most=3)


async def posting(group, *messages):
    tasks = [asyncio.create_task(group.post(message)) for message in messages]
    await asyncio.sleep(0)
    return tasks


async def test_messages_that_wait_form_the_next_groups_in_their_order(group, disk):
    first = await posting(group, 1)
    await asyncio.sleep(0)
    rest = await posting(group, 2, 3, 4, 5)

    for _ in range(3):
        disk.may_write.release()
    replies = await asyncio.gather(*first, *rest)

    assert disk.groups == [[1], [2, 3, 4], [5]]
    assert replies == [10, 20, 30, 40, 50]


async def test_nobody_is_answered_before_the_group_is_written(group, disk):
    waiting = await posting(group, 1, 2)

    done, _ = await asyncio.wait(waiting, timeout=0)
    assert done == set()
    disk.may_write.release()
    assert await asyncio.gather(*waiting) == [10, 20]


async def test_who_no_longer_waits_keeps_nobody_from_an_answer(group, disk):
    gone, waiting = await posting(group, 1, 2)
    gone.cancel()
    await asyncio.sleep(0)

    disk.may_write.release()

    assert await waiting == 20
    assert disk.groups == [[1, 2]]


async def test_after_a_failure_nobody_is_answered(group, disk):
    disk.refuses = True
    disk.may_write.release()
    (waiting,) = await posting(group, 1)

    with pytest.raises(OSError, match="full"):
        await group._writing

    assert disk.failures == 1
    assert not waiting.done()
    waiting.cancel()


async def test_one_thread_does_one_work_after_the_other():
    thread, seen = OneThread("t"), []

    replies = await asyncio.gather(
        *(thread.run(lambda n=n: (seen.append(n), n)[1]) for n in (1, 2))
    )

    assert seen == replies == [1, 2]
