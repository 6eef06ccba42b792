"""Files and batches as their owner keeps them, with crashes between."""

import asyncio
import json
from collections import Counter

import pytest

from compass_ray.actors.batches import BatchesActor
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Batch, Page, StoredFile, Told
from compass_ray.types.settings import BatchSettings

CHAT = "/v1/chat/completions"
CALLER = Caller("alice", "acme")
SETTINGS = BatchSettings(
    max_file_bytes=10_000, max_stored_bytes=20_000, max_requests=1_000, parallel=4, keep_seconds=60
)
OVER = {"failed", "completed", "expired", "cancelled"}


class Answering:
    """Answers every line, or those before it is told to hold on."""

    def __init__(self):
        self.asked = Counter()
        self.holds_from = None

    async def ask(self, _endpoint, body, _caller, key):
        self.asked[key] += 1
        if self.holds_from is not None and int(key.rpartition("/")[2]) >= self.holds_from:
            await asyncio.Event().wait()
        user = json.loads(body)["user"]
        return Told(400 if user == "bad" else 200, f"req_{key}", json.dumps(user).encode(), 3)


class World:
    def __init__(self, folder):
        self.folder, self.gateway, self.now = folder, Answering(), 1_000.0
        self.actors = []

    def start(self, settings=SETTINGS):
        """Start the actor, as after a crash where there was one."""
        self.actor = BatchesActor(
            self.folder / "batches.db",
            self.folder / "files",
            self.gateway,
            settings,
            wall=lambda: self.now,
            fail=lambda code: None,
            uniform=lambda: 0.0,
        )
        self.actors.append(self.actor)

    async def kill(self):
        """End what the process would have taken with it."""
        for task in self.actor._driving.values():
            task.cancel()
        tasks = [*self.actor._driving.values(), self.actor._group._writing]
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        self.actor._store.close()

    async def upload(self, lines, name="file-1", account="acme"):
        content = b"\n".join(lines)
        await self.actor.write(name, 0, content)
        file = StoredFile(name, account, "in.jsonl", "batch", len(content), self.now, 1e9)
        return await self.actor.keep(file)

    async def begin(self, name="batch_1", **fields):
        batch = Batch(name, CALLER, "file-1", CHAT, self.now, self.now + 100, 60.0, **fields)
        return await self.actor.create(batch)

    async def until(self, is_so):
        """Return where the batch stands, once that is so; bounded."""
        async with asyncio.timeout(10):
            while not is_so(batch := await self.actor.batch("batch_1", "acme")):  # noqa: ASYNC110
                await asyncio.sleep(0.002)  # the actor's own tasks and threads
        return batch

    async def over(self):
        return await self.until(lambda batch: batch.status in OVER)

    async def lines_of(self, name):
        if name is None:
            return []
        content = await self.actor.read(name, "acme", 0, 10**9)
        return [json.loads(line) for line in content.splitlines()]


@pytest.fixture
async def world(tmp_path):
    world = World(tmp_path)
    world.start()
    yield world
    await world.kill()


def line(number, user="it"):
    body = {"model": "auto", "user": user}
    return json.dumps(
        {"custom_id": f"c{number}", "method": "POST", "url": CHAT, "body": body}
    ).encode()


TEN = [line(number) for number in range(1, 11)]


async def test_every_line_is_answered_and_told_in_the_order_of_the_file(world):
    await world.upload([*TEN, b"", line(11, "bad")])

    begun = await world.begin()
    done = await world.over()

    assert begun.status == "validating"
    assert (done.status, done.counts, done.cost) == ("completed", (11, 10, 1), 33)
    assert list(done.at) == ["in_progress", "finalizing", "completed"]
    good = await world.lines_of(done.output_file)
    assert [one["custom_id"] for one in good] == [f"c{n}" for n in range(1, 11)]
    assert good[0]["response"] == {
        "status_code": 200, "request_id": "req_batch_1/1", "body": "it",
    }  # fmt: skip
    (bad,) = await world.lines_of(done.error_file)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("c11", 400)


async def test_a_batch_without_errors_has_no_error_file(world):
    await world.upload(TEN)
    await world.begin()

    done = await world.over()

    assert done.error_file is None
    (output,) = await world.actor.files("acme", "batch_output", Page())
    assert (output.id, output.name) == (done.output_file, "batch_1_output.jsonl")
    assert output.expires_at == world.now + 60


async def test_a_file_that_is_not_sound_fails_as_a_whole_and_nothing_is_asked(world):
    await world.upload([*TEN, b"?", line(1)])
    await world.begin()

    done = await world.over()

    assert done.status == "failed"
    assert [(one.line, one.code) for one in done.errors] == [
        (11, "invalid_json_line"),
        (12, "duplicate_custom_id"),
    ]
    assert (world.gateway.asked, done.output_file, done.error_file) == ({}, None, None)


async def test_after_a_crash_what_has_ended_is_not_asked_again(world):
    await world.upload(TEN)
    world.gateway.holds_from = 5
    await world.begin()
    await world.until(lambda batch: batch.counts.completed == 4)
    await world.kill()

    world.gateway.holds_from = None
    world.start()
    await world.actor.tend()
    done = await world.over()

    assert (done.status, done.counts, done.cost) == ("completed", (10, 10, 0), 30)
    assert [world.gateway.asked[f"batch_1/{n}"] for n in range(1, 5)] == [1] * 4
    assert len(await world.lines_of(done.output_file)) == 10


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("commits", range(1, 17))
async def test_a_crash_at_any_commit_loses_nothing(world, commits, before):
    await world.upload(TEN)
    left, commit, finish = commits, world.actor._store.commit, world.actor._store.finish
    dead = asyncio.Event()
    loop = asyncio.get_running_loop()

    def counted(work):
        def working(*arguments):
            nonlocal left
            left -= 1
            if left >= before:
                work(*arguments)
            if left == 0:
                loop.call_soon_threadsafe(dead.set)
            if left <= 0:
                raise ConnectionAbortedError  # nobody hears of it, nor of what follows

        return working

    world.actor._store.commit, world.actor._store.finish = counted(commit), counted(finish)
    creating = asyncio.create_task(world.begin())
    dying = asyncio.create_task(dead.wait())
    while not dying.done() and not (creating.done() and world.actor._driving == {}):  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    dying.cancel()
    creating.cancel()
    await asyncio.gather(creating, return_exceptions=True)
    await world.kill()

    world.start()
    if await world.actor.batch("batch_1", "acme") is None:
        assert (commits, before) == (1, True)  # nobody was told that it had begun
        return
    done = await world.over()

    assert (done.status, done.counts, done.cost) == ("completed", (10, 10, 0), 30)
    told = await world.lines_of(done.output_file)
    assert [one["custom_id"] for one in told] == [f"c{n}" for n in range(1, 11)]
    assert sum(world.gateway.asked.values()) <= 10 + SETTINGS.parallel


async def test_a_cancelled_batch_tells_what_there_is_and_what_was_never_asked(world):
    await world.upload(TEN)
    world.gateway.holds_from = 5
    await world.begin()
    await world.until(lambda batch: batch.counts.completed == 4)

    cancelled = await world.actor.cancel("batch_1", "acme")
    world.gateway.holds_from = None
    await world.kill()  # what hangs would be waited for
    world.start()
    done = await world.over()

    assert cancelled.status == "cancelling"
    assert done.status == "cancelled"
    assert len(await world.lines_of(done.output_file)) == 4
    errors = await world.lines_of(done.error_file)
    assert [one["custom_id"] for one in errors] == [f"c{n}" for n in range(5, 11)]
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}


async def test_a_batch_whose_time_is_over_expires_with_what_there_is(world):
    await world.upload(TEN)
    world.gateway.holds_from = 5
    await world.begin()
    await world.until(lambda batch: batch.counts.completed == 4)
    await world.kill()

    world.gateway.holds_from, world.now = None, world.now + 101
    world.start()
    await world.actor.tend()
    done = await world.over()

    assert done.status == "expired"
    assert len(await world.lines_of(done.output_file)) == 4
    assert {one["error"]["code"] for one in await world.lines_of(done.error_file)} == {
        "batch_expired"
    }


async def test_a_batch_is_begun_once_per_id(world):
    await world.upload(TEN)

    first, second = await world.begin(), await world.begin(metadata={"another": "one"})
    await world.over()
    third = await world.begin()

    assert first.metadata == second.metadata == {}
    assert third.status == "completed"
    assert sum(world.gateway.asked.values()) == 10


async def test_another_account_sees_nothing(world):
    await world.upload(TEN)
    await world.begin()
    done = await world.over()
    actor = world.actor

    assert await actor.batch("batch_1", "other") is None
    assert await actor.cancel("batch_1", "other") is None
    assert await actor.batches("other", Page()) == []
    for name in ("file-1", done.output_file):
        assert await actor.file(name, "other") is None
        assert await actor.read(name, "other", 0, 9) is None
        assert await actor.delete(name, "other") is None


async def test_a_file_that_a_batch_reads_stays_until_it_is_over(world):
    await world.upload(TEN)
    world.gateway.holds_from = 1
    await world.begin()
    await world.until(lambda batch: batch.status == "in_progress")

    assert await world.actor.delete("file-1", "acme") is False


async def test_files_have_room_for_so_many_bytes(world):
    big = b"x" * 12_000

    assert await world.upload([big], "file-1")
    assert not await world.upload([big], "file-2")
    assert await world.upload([big], "file-3", "other")
    assert await world.actor.delete("file-1", "acme")
    assert await world.upload([big], "file-4")
    assert await world.actor.file("file-2", "acme") is None


async def test_no_more_requests_are_under_way_than_may_be(world):
    await world.actor.configure(SETTINGS)
    world.gateway.holds_from = 1
    await world.upload(TEN)
    await world.begin()

    await world.until(lambda _: len(world.gateway.asked) == SETTINGS.parallel)
    await asyncio.sleep(0.02)

    assert len(world.gateway.asked) == SETTINGS.parallel


async def test_a_batch_that_a_full_disk_has_stopped_goes_on_later(world):
    await world.upload(TEN)
    write, world.actor._store.write = world.actor._store.write, refuse
    await world.begin()
    async with asyncio.timeout(10):
        while world.actor._driving:  # noqa: ASYNC110
            await asyncio.sleep(0.002)  # the actor's own tasks and threads

    world.actor._store.write = write
    world.now += 1_000
    await world.actor.tend()
    done = await world.over()

    assert (done.status, done.counts) == ("completed", (10, 10, 0))
    assert sum(world.gateway.asked.values()) == 10


def refuse(*_arguments):
    raise OSError(28, "No space left on device")
