"""Ends of runs on their way to a real webhook, from a real file, through deaths of the actor."""

import asyncio
from base64 import b64encode

import pytest

from compass_ray.actors import courier
from compass_ray.actors.courier import Courier
from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.policy.webhooks import key_of, signed
from compass_ray.types.accounts import Caller
from compass_ray.types.settings import WebhookSettings
from compass_ray.types.workflows import Order
from tests.gateway.test_workflow import SAY, Scripted

pytestmark = pytest.mark.server

SECRET = "whsec_" + b64encode(b"k" * 32).decode()
ENVIRON = {"SECRET": SECRET}


class Home:
    """The actor on one file; a new one takes over where it dies."""

    def __init__(self, file, url):
        self.file, self.url, self.now = file, url, 1_000.0
        self.settings = WebhookSettings((url,), ("SECRET",), {})
        self.actor = None

    async def begin(self):
        self.actor = WorkflowsActor(self.file, Scripted("yes"), wall=lambda: self.now)
        outbox = self.actor
        self.actor._courier = Courier(outbox, lambda: self.now, chance=lambda: 0.0, environ=ENVIRON)
        await self.actor.tend(self.settings)
        return self.actor

    async def die(self):
        on_their_way = [*self.actor._courier._tasks]
        for task in on_their_way:
            task.cancel()
        await asyncio.gather(*on_their_way, return_exceptions=True)
        await self.actor._disk.run(self.actor._store.close)

    async def order(self, number=1, url=None):
        plan, caller = {"plan": SAY}, Caller("alice", "acme")
        url = url or self.url
        order = Order(f"task_{number}", "task", "", caller, plan, "it", 100, 1.0, 1e12, webhook=url)
        await self.actor.create(order)
        await self.actor.over(order.id, "acme", 10)

    async def round(self):
        """Let all that is due be tried once; return where the run stands then."""
        await self.actor.tend(self.settings)
        while tasks := [*self.actor._courier._tasks]:
            await asyncio.gather(*tasks)
        return (await self.actor.summary("task_1", "acme")).webhook


@pytest.fixture
async def home(tmp_path, webhook):
    home = Home(tmp_path / "runs.db", webhook.url)
    await home.begin()
    yield home
    await home.die()


async def test_an_end_is_told_once_signed_and_as_callers_see_it(home, webhook):
    await home.order()

    standing = await home.round()
    await home.round()

    ((headers, body),) = webhook.raw
    assert standing == ("delivered", 1, "")
    assert webhook.got[0]["type"] == "task.completed"
    assert webhook.got[0]["data"]["result"] == "yes"
    expected = signed(key_of(SECRET), "msg_task_1", 1_000, body)
    assert {name: headers[name] for name in expected} == expected


async def test_what_is_refused_is_sent_again_later_and_later_under_the_same_id(home, webhook):
    webhook.answers = [500, 302]
    await home.order()

    standings, tries = [], []
    for at in (1_000.0, 1_004.0, 1_005.0, 1_014.0, 1_015.0):
        home.now = at
        standings.append(await home.round())
        tries.append(len(webhook.raw))

    assert tries == [1, 1, 2, 2, 3]
    assert standings[0] == ("pending", 1, "HTTP 500")
    assert standings[-1] == ("delivered", 3, "")
    ids = {headers["webhook-id"] for headers, _ in webhook.raw}
    times = [headers["webhook-timestamp"] for headers, _ in webhook.raw]
    assert (ids, times) == ({"msg_task_1"}, ["1000", "1005", "1015"])


async def test_it_is_given_up_after_a_day_and_the_run_says_so(home, webhook):
    webhook.answers = [500] * 100
    await home.order()

    while (standing := await home.round()).status == "pending":
        home.now += 3_600.0

    assert standing == ("failed", len(webhook.raw), "HTTP 500")
    assert 10 < standing.attempts <= 25
    assert await home.round() == standing


async def test_who_is_gone_is_not_asked_again(home, webhook):
    webhook.answers = [410]
    await home.order()

    assert await home.round() == ("failed", 1, "HTTP 410")


async def test_an_end_that_was_told_and_not_noted_before_a_kill_is_told_again_as_the_same(
    home, webhook
):
    accepted = asyncio.Event()

    async def die_before_noting(*_asked):
        accepted.set()
        await asyncio.Event().wait()

    home.actor.settle = die_before_noting
    await home.order()
    async with asyncio.timeout(10):
        await accepted.wait()
    await home.die()

    await home.begin()
    standing = await home.round()

    assert standing == ("delivered", 1, "")
    assert [headers["webhook-id"] for headers, _ in webhook.raw] == ["msg_task_1"] * 2
    assert webhook.raw[0][1] == webhook.raw[1][1]


async def test_a_url_that_is_no_longer_allowed_and_a_secret_that_is_gone_are_no_delivery(
    home, webhook
):
    home.settings = WebhookSettings((), ("SECRET",), {})
    await home.actor.tend(home.settings)
    await home.order()
    forbidden = await home.round()
    home.settings = WebhookSettings((webhook.url,), ("SECRET",), {"acme": ("NOT_SET",)})
    home.now += 5.0
    unsigned = await home.round()

    assert forbidden == ("pending", 1, "its URL is no longer allowed")
    assert unsigned == ("pending", 2, "its account has no secret to sign with")
    assert webhook.raw == []


async def test_more_than_have_a_place_at_once_are_all_told(home, webhook, monkeypatch):
    monkeypatch.setattr(courier, "_AT_ONCE", 2)
    await asyncio.gather(*(home.order(number) for number in range(1, 8)))

    await home.round()

    assert {one["data"]["task_id"] for one in webhook.got} == {
        f"task_{number}" for number in range(1, 8)
    }
