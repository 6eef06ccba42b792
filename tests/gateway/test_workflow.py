"""One run on the real pipeline: calls are made once, whatever happens to its driver."""

import asyncio

import orjson
import pytest

from compass_ray.gateway.idempotency import Claims
from compass_ray.gateway.once import Once, Replay
from compass_ray.gateway.workflow import Run
from compass_ray.policy.idempotency import Keep, apply
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import IdempotencyUnavailable, Overloaded
from compass_ray.types.workflows import Failed, Finished, Order, Started
from tests.gateway.conftest import Provider, answer, world

__all__ = ["world"]  # a fixture

CALLER = Caller("alice", "acme")
SAY = {"prompt": "say {{previous}}", "max_tokens": 20}
TWENTY = {"chain": [SAY] * 20}


class Scripted:
    """Answers each key with its next word, and counts who asked."""

    def __init__(self, *words):
        self.words = list(words)
        self.asked = []

    async def answer(self, body, caller, key):
        self.asked.append(key)
        word = self.words.pop(0) if self.words else body["messages"][0]["content"][-40:] + "."
        if isinstance(word, Exception):
            raise word
        if word is None:
            await asyncio.Event().wait()
        message = {"role": "assistant", "content": word}
        compass = {"cost_micro_usd": 7, "endpoint": "p/m"}
        return {"choices": [{"message": message}], "compass": compass}


class Disk:
    """Keeps events, and dies with the process after so many of them."""

    def __init__(self, dies_after=None):
        self.events = []
        self.dies_after = dies_after

    async def note(self, _run, first, events):
        assert first == len(self.events)
        self.events.extend(events)
        if self.dies_after is not None and len(self.events) >= self.dies_after:
            raise ConnectionAbortedError


def order(plan, budget=1_000_000, deadline_at=1e12):
    return Order("run_1", "workflow", "", CALLER, {"plan": plan}, "it", budget, 0.0, deadline_at)


def run(asked, gateway, disk, now=lambda: 1.0):
    return Run(asked, disk.events, gateway=gateway, note=disk.note, wall=now)


async def drive(plan, *words, **named):
    gateway, disk = Scripted(*words), Disk()
    made = run(order(plan, **named), gateway, disk)
    async with asyncio.timeout(10):
        await made.drive()
    return made.summary(), gateway, disk


async def test_a_run_ends_with_its_last_answer_and_knows_what_it_cost():
    summary, gateway, disk = await drive({"chain": [SAY, SAY]}, "one", "two")

    assert (summary.status, summary.end.text, summary.cost) == ("completed", "two", 14)
    assert gateway.asked == ["run_1/plan.chain[0]/1", "run_1/plan.chain[1]/1"]
    assert [type(one).__name__ for one in disk.events] == [
        "Started", "Finished", "Started", "Finished", "Ended",
    ]  # fmt: skip


async def test_killed_after_any_event_of_twenty_steps_it_ends_the_same_with_one_answer_a_step():
    whole, _, events = await drive(TWENTY)

    for cut in range(1, len(events.events)):
        gateway, disk = Scripted(), Disk(cut)
        with pytest.raises(ConnectionAbortedError):
            await run(order(TWENTY), gateway, disk).drive()
        disk.dies_after = None
        again = run(order(TWENTY), gateway, disk)
        await again.drive()

        assert again.summary() == whole
        assert len(set(gateway.asked)) == 20
        assert len([one for one in disk.events if isinstance(one, Finished)]) == 20


async def test_nothing_is_asked_before_it_is_on_disk():
    gateway, disk = Scripted(), Disk(1)

    with pytest.raises(ConnectionAbortedError):
        await run(order(SAY), gateway, disk).drive()

    assert gateway.asked == []


async def test_who_cannot_say_whether_it_ran_is_asked_again_with_the_same_key():
    lost = IdempotencyUnavailable("gone", retry_after=0.001)

    summary, gateway, _ = await drive(SAY, lost, lost, "yes")

    assert summary.end.text == "yes"
    assert gateway.asked == ["run_1/plan/1"] * 3


async def test_an_error_is_an_event_and_another_attempt_has_another_key():
    summary, gateway, disk = await drive(SAY | {"attempts": 2}, Overloaded("busy"), "yes")

    assert summary.end.text == "yes"
    assert gateway.asked == ["run_1/plan/1", "run_1/plan/2"]
    assert disk.events[1] == Failed("plan", 1, "Overloaded", "busy", True, 0, 1.0)  # noqa: FBT003


async def test_a_mistake_ends_the_run_without_a_word_of_the_caller_s():
    summary, _, _ = await drive(SAY, RuntimeError("a secret"))

    assert (summary.status, summary.end.code) == ("failed", "defect")
    assert "secret" not in summary.end.message


async def test_a_cancelled_run_ends_its_calls():
    gateway, disk = Scripted(None, None), Disk()
    made = run(order({"parallel": [SAY, SAY]}), gateway, disk)
    driving = asyncio.create_task(made.drive())
    async with asyncio.timeout(5):
        while len(gateway.asked) < 2:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)

        made.stop()
        await driving

    assert made.summary().status == "cancelled"
    assert len(asyncio.all_tasks()) == 1


async def test_a_run_that_lasts_too_long_is_ended():
    clock = iter([0.0, 0.0, 0.99, 1.0, 1.0])
    disk = Disk()
    made = run(order(SAY, deadline_at=1.0), Scripted(None), disk, lambda: next(clock, 1.0))

    async with asyncio.timeout(5):
        await made.drive()

    assert made.summary().end.code == "deadline_exceeded"


class Keys:
    """The authority over idempotency keys, in memory."""

    def __init__(self):
        self.entries, self.leases = {}, {}

    def decide(self, messages):
        changes, replies = apply(
            self.entries, self.leases, messages, now=0.0, unix=0.0, keep=Keep()
        )
        self.entries |= changes
        return replies

    async def begin(self, claim):
        return self.decide([claim])[0]

    async def end(self, endings):
        return self.decide(endings)


class Pipeline:
    """The gateway of this process, as a replica answers a workflow's calls."""

    def __init__(self, world):
        gateway = world.gateway
        self.claims = Claims(Keys())
        self.once = Once(gateway, self.claims, gateway._recorder, gateway._clock)
        self.numbers = iter(range(1_000))

    async def answer(self, body, caller, key):
        raw = orjson.dumps(body)
        reply = await self.once.answer(raw, caller, f"req_{next(self.numbers)}", key)
        return orjson.loads(reply.body()) if isinstance(reply, Replay) else reply.body


async def test_a_call_that_was_paid_before_the_crash_is_told_again_for_nothing(world):
    plan = {"chain": [SAY, SAY]}
    w = world(a=Provider(answer("one"), answer("two")))
    pipeline, disk = Pipeline(w), Disk(1)
    telling = asyncio.create_task(pipeline.claims.run())
    with pytest.raises(ConnectionAbortedError):
        await run(order(plan), pipeline, disk).drive()
    started = disk.events[0]
    assert isinstance(started, Started)
    dead = run(order(plan), pipeline, disk)
    await dead._call(dead._machine.under_way()[0])  # answered, and never written down

    disk.dies_after = None
    again = run(order(plan), pipeline, disk)
    await again.drive()

    assert again.summary().end.text == "two"
    assert w.providers["a"].calls == 2
    assert again.summary().cost == 40
    assert [how for how, *_ in w.purse.ends] == ["settled"] * 2
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


async def test_a_plan_that_cannot_be_walked_ends_its_run_whatever_it_is_that_hinders(monkeypatch):
    gateway, disk = Scripted("one"), Disk()
    made = run(order({"chain": [SAY, SAY]}), gateway, disk)
    walked = made._machine.under_way

    def broken():
        if gateway.asked:
            raise KeyError("a name that nobody gave")
        return walked()

    monkeypatch.setattr(made._machine, "under_way", broken)
    async with asyncio.timeout(10):
        await made.drive()

    assert (made.summary().status, made.summary().end.code) == ("failed", "defect")
    assert type(disk.events[-1]).__name__ == "Ended"
