"""The requests of one batch: several at a time, asked again where that may help, and bounded."""

import asyncio
from collections import Counter

import orjson

from compass_ray.gateway.batch import BatchRun
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Batch, Line, Told
from compass_ray.types.errors import IdempotencyUnavailable

CHAT = "/v1/chat/completions"
BATCH = Batch("batch_1", Caller("alice", "acme"), "file-1", CHAT, 0.0, 1_000.0, 60.0)
DONE = Told(200, "req", b"{}", 7)
BUSY = Told(503, "req", b"{}", again=True, retry_after=0.001)


class Scripted:
    """Answers each line with its next word; every question takes a turn of the loop."""

    def __init__(self, **said):
        self.said = {name: list(words) for name, words in said.items()}
        self.asked = Counter()
        self.under_way = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, endpoint, body, caller, key):
        assert (endpoint, caller) == (CHAT, BATCH.caller)
        self.asked[key] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.under_way -= 1
        words = self.said.get(orjson.loads(body)["user"], [])
        word = words.pop(0) if words else DONE
        if isinstance(word, Exception):
            raise word
        return word


class World:
    def __init__(self, gateway, places=4, now=0.0, u=0.0):
        self.gateway, self.kept, self.now = gateway, [], now
        self.places = asyncio.Semaphore(places)
        self.run = BatchRun(
            BATCH,
            gateway=gateway,
            places=self.places,
            keep=self._keep,
            wall=lambda: self.now,
            uniform=lambda: u,
        )

    async def _keep(self, outcome):
        self.kept.append(outcome)

    async def ask(self, *names):
        async with asyncio.timeout(10):
            await self.run.ask_all(lines(names))

    def ends(self):
        return {one.number: one.ok for one in self.kept}


async def lines(names):
    for number, name in enumerate(names, 1):
        yield Line(number, name, orjson.dumps({"user": name}))


async def test_all_are_asked_once_under_their_own_keys_and_never_more_than_there_are_places():
    w = World(Scripted(), places=3)

    await w.ask(*"abcdefgh")

    assert w.gateway.asked == {f"batch_1/{number}": 1 for number in range(1, 9)}
    assert w.gateway.most == 3
    assert w.ends() == dict.fromkeys(range(1, 9), True)
    assert w.kept[0].cost == 7


async def test_what_may_fare_better_is_asked_again_and_what_may_not_is_an_error_at_once():
    w = World(Scripted(a=[BUSY, BUSY], b=[Told(400, "req", b"{}")]))

    await w.ask("a", "b")

    assert w.gateway.asked == {"batch_1/1": 3, "batch_1/2": 1}
    assert w.ends() == {1: True, 2: False}


async def test_who_is_told_when_to_come_again_comes_as_often_as_it_takes():
    w = World(Scripted(a=[BUSY] * 20))

    await w.ask("a")

    assert w.gateway.asked == {"batch_1/1": 21}
    assert w.ends() == {1: True}


async def test_a_lost_replica_is_no_answer():
    w = World(Scripted(a=[IdempotencyUnavailable("lost", retry_after=0.001)] * 7))

    await w.ask("a")

    assert w.ends() == {1: True}


async def test_stopped_nothing_begins_and_what_is_under_way_ends_well():
    w = World(Scripted(), places=2)
    w.gateway.gate.clear()

    asking = asyncio.create_task(w.ask(*"abcdef"))
    while w.gateway.under_way < 2:  # noqa: ASYNC110  # the run's own tasks
        await asyncio.sleep(0)
    w.run.stop()
    w.gateway.gate.set()
    await asking

    assert w.ends() == {1: True, 2: True}
    assert w.places._value == 2


async def test_stopped_a_pause_ends_at_once():
    w = World(Scripted(a=[Told(429, "req", b"{}", again=True, retry_after=50.0)]))

    asking = asyncio.create_task(w.ask("a"))
    while not w.gateway.asked:  # noqa: ASYNC110  # the run's own tasks
        await asyncio.sleep(0)
    w.run.stop()
    await asking

    assert list(w.ends()) == [1]


async def test_after_its_time_a_batch_begins_nothing():
    w = World(Scripted(), now=1_000.0)

    await w.ask("a", "b")

    assert (w.gateway.asked, w.kept) == ({}, [])
