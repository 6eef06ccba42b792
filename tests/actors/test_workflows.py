"""The Workflows actor as a plain class on a real SQLite file."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from compass_ray.actors import workflows
from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.storage.workflows import WorkflowStore
from compass_ray.types.accounts import Caller
from compass_ray.types.settings import WebhookSettings
from compass_ray.types.workflows import Ended, Finished, Order, Page, RunQuery, Started
from tests.gateway.test_workflow import SAY, Scripted

NO_WEBHOOKS = WebhookSettings((), (), {})


def order(number=1, plan=None, account="acme", at=1.0):
    caller = Caller("alice", account, frozenset({"m"}))
    plan = {"plan": plan or SAY}
    return Order(f"task_{number}", "task", "", caller, plan, "it", 100, at, 1e12)


@pytest.fixture
def begun(tmp_path):
    """Start the actor on the file of the test; its process ends with the block."""

    @asynccontextmanager
    async def begin(*words, file="runs.db"):
        gateway = Scripted(*words)
        actor = WorkflowsActor(tmp_path / file, gateway, wall=lambda: 5.0)
        actor.gateway = gateway
        try:
            yield actor
        finally:
            for task in actor._driving.values():
                task.cancel()
            await asyncio.gather(*actor._driving.values(), return_exceptions=True)
            if actor._group._writing is not None:
                await actor._group._writing
            await actor._disk.run(actor._store.close)  # a file is one thread's at a time

    return begin


async def ended(actor, run="task_1", account="acme"):
    seen = 0
    while (summary := await actor.summary(run, account)).end is None:
        news = await actor.events(run, account, seen, 5)
        assert news
        seen += len(news)
    return summary


async def test_a_run_is_on_disk_when_it_has_begun_and_readable_when_it_is_over(begun):
    async with begun("yes") as actor:
        first = await actor.create(order())
        summary = await ended(actor)
        events = await actor.events("task_1", "acme", 1, 0)

    assert first.summary.status == "processing"
    assert (summary.status, summary.end.text, summary.cost) == ("completed", "yes", 7)
    assert [type(one) for one in events] == [Finished, Ended]
    assert actor._runs == {}


async def test_a_restarted_actor_goes_on_with_the_first_message(begun):
    async with begun(None) as actor:
        await actor.create(order(plan={"chain": [SAY, SAY]}))
        await actor.events("task_1", "acme", 0, 5)

    async with begun("one", "two") as actor:
        await actor.tend(NO_WEBHOOKS)
        summary = await ended(actor)

    assert summary.end.text == "two"
    assert actor.gateway.asked == ["task_1/plan.chain[0]/1", "task_1/plan.chain[1]/1"]


async def test_two_hundred_runs_go_on_in_one_process(begun):
    async with begun() as actor:
        await asyncio.gather(*(actor.create(order(number)) for number in range(200)))
        found = [await ended(actor, f"task_{number}") for number in range(200)]

    assert {one.status for one in found} == {"completed"}
    assert len(set(actor.gateway.asked)) == len(actor.gateway.asked) == 200


async def test_the_same_order_at_once_and_later_is_one_run(begun):
    async with begun("yes") as actor:
        await asyncio.gather(*(actor.create(order()) for _ in range(5)))
        await ended(actor)
        again = await actor.create(order())

    assert (again.summary.status, again.same) == ("completed", True)
    assert actor.gateway.asked == ["task_1/plan/1"]


async def test_another_account_s_run_is_none_whatever_is_asked(begun):
    async with begun(None) as actor:
        await actor.create(order())

        asked = [
            await actor.summary("task_1", "other"),
            await actor.events("task_1", "other", 0, 0),
            await actor.cancel("task_1", "other"),
        ]

        assert asked == [None, None, None]
        assert await actor.listed(RunQuery("other", "task", 10)) == Page([], has_more=False)
        assert (await actor.summary("task_1", "acme")).status == "processing"


async def test_cancelling_ends_a_run_and_leaves_one_that_is_over(begun):
    async with begun("yes", None) as actor:
        await actor.create(order(1))
        await ended(actor)
        await actor.create(order(2))

        over = await actor.cancel("task_1", "acme")
        cancelled = await actor.cancel("task_2", "acme")

    assert (over.status, cancelled.status) == ("completed", "cancelled")


async def test_the_latest_come_first(begun):
    async with begun() as actor:
        for number in range(3):
            await actor.create(order(number, at=float(number)))

        first = await actor.listed(RunQuery("acme", "task", 2))
        rest = await actor.listed(RunQuery("acme", "task", 2, after="task_1"))

    assert ([one.id for one in first.runs], first.has_more) == (["task_2", "task_1"], True)
    assert ([one.id for one in rest.runs], rest.has_more) == (["task_0"], False)


async def test_a_list_tells_what_runs_under_way_have_come_to_by_now(begun):
    async with begun("one", None) as actor:
        await actor.create(order(plan={"chain": [SAY, SAY]}))
        seen = 0
        while seen < 3:
            seen += len(await actor.events("task_1", "acme", seen, 5))

        (listed,) = (await actor.listed(RunQuery("acme", "task", 9, "processing"))).runs

    assert (listed.status, listed.cost, listed.calls) == ("processing", 7, 1)


async def test_the_end_of_a_run_is_waited_for_and_no_longer_than_asked(begun):
    async with begun("one", None) as actor:
        await actor.create(order(1))
        await actor.create(order(2))

        over = await actor.over("task_1", "acme", 5)
        under_way = await actor.over("task_2", "acme", 0.001)
        nobodys = await actor.over("task_2", "other", 5)

    assert (over.status, under_way.status, nobodys) == ("completed", "processing", None)


async def test_another_order_under_the_same_id_is_told(begun):
    async with begun("yes") as actor:
        await actor.create(order())
        other = await actor.create(order(plan={"chain": [SAY]}))

    assert not other.same


async def test_beyond_the_most_runs_there_is_no_room(begun, monkeypatch):
    monkeypatch.setattr(workflows, "MOST_RUNS", 1)
    async with begun(None) as actor:
        await actor.create(order(1))

        assert await actor.create(order(2)) is None


async def test_news_are_waited_for_no_longer_than_asked(begun):
    async with begun(None) as actor:
        await actor.create(order())
        (started,) = await actor.events("task_1", "acme", 0, 5)

        nothing = await actor.events("task_1", "acme", 1, 0.001)

    assert isinstance(started, Started)
    assert list(nothing) == []


async def test_a_plan_that_new_code_refuses_ends_its_run_and_no_other(begun, tmp_path):
    store = WorkflowStore(tmp_path / "runs.db")
    store.commit([order(1, plan={"old": 1}), order(2)], [])
    store.close()

    async with begun("yes") as actor:
        await actor.tend(NO_WEBHOOKS)
        good = await ended(actor, "task_2")
        bad = await actor.summary("task_1", "acme")
        found = actor._store.events("task_1")

    assert (good.status, bad.status) == ("completed", "failed")
    assert [one.code for one in found] == ["plan_unreadable"]


async def test_what_is_old_is_forgotten(begun):
    async with begun("yes") as actor:
        await actor.create(order())
        await ended(actor)
        actor._wall = lambda: 40 * 86_400.0
        await actor.tend(NO_WEBHOOKS)

        assert await actor.summary("task_1", "acme") is None
