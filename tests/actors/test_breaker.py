import asyncio

import pytest

from compass_ray.actors.breaker import BreakerActor
from compass_ray.policy.breaker import Outcome, Permit
from compass_ray.policy.verdict import SUCCESS, Ruling

FAILURE = Ruling("failure", "ProviderFault")
BORN = 1_800_000_000.0


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now

    def unix(self):
        return BORN + self.now - 1000.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def actor(clock):
    return BreakerActor(clock=clock, wall=clock.unix)


async def fail(actor, endpoint_id, count=5, permit=None):
    await actor.report("r1", (Outcome(endpoint_id, permit or Permit(), FAILURE, count),))


async def test_endpoints_have_circuits_of_their_own(actor):
    await fail(actor, "a/m")
    await fail(actor, "b/m", count=1)

    statuses = await actor.snapshot()

    assert {name: status.phase for name, status in statuses.items()} == {
        "a/m": "open",
        "b/m": "closed",
    }


async def test_a_trip_is_told_at_once_in_unix_time(actor):
    version, _ = await actor.watch(0, 0.0)
    waiting = asyncio.create_task(actor.watch(version, 60.0))
    await asyncio.sleep(0)

    await fail(actor, "a/m")

    told_version, statuses = await waiting
    assert told_version > version
    assert statuses["a/m"].retry_at == BORN + 60.0
    assert statuses["a/m"].epoch > BORN


async def test_news_that_changes_nothing_wakes_nobody(actor):
    version, _ = await actor.watch(0, 0.0)

    await fail(actor, "a/m", count=4)

    assert (await actor.watch(version, 0.0))[0] == version


async def test_a_rate_limit_is_shared(actor):
    version, _ = await actor.watch(0, 0.0)

    limited = Ruling("cooldown", "RateLimited", 7.0)
    await actor.report("r1", (Outcome("a/m", Permit(), limited),))

    _, statuses = await actor.watch(version, 60.0)
    assert (statuses["a/m"].phase, statuses["a/m"].retry_at) == ("closed", BORN + 7.0)


async def test_one_probe_at_a_time_over_all_replicas_and_three_close(actor, clock):
    await fail(actor, "a/m")
    assert await actor.lease_probe("a/m", "r1") is None
    clock.now += 60.0

    for _ in range(3):
        permit = await actor.lease_probe("a/m", "r1")
        assert permit is not None
        assert await actor.lease_probe("a/m", "r2") is None
        await actor.report("r1", (Outcome("a/m", permit, SUCCESS),))

    assert (await actor.snapshot())["a/m"].phase == "closed"


async def test_a_permit_without_an_epoch_is_from_before_the_trip(actor, clock):
    await fail(actor, "a/m")
    clock.now += 60.0
    for _ in range(3):
        permit = await actor.lease_probe("a/m", "r1")
        await actor.report("r1", (Outcome("a/m", permit, SUCCESS),))

    await fail(actor, "a/m")

    assert (await actor.snapshot())["a/m"].phase == "closed"


async def test_a_permit_dated_by_an_earlier_word_is_stale(actor):
    await fail(actor, "a/m")
    opened = (await actor.snapshot())["a/m"]
    await actor.operate("a/m", "close")

    await fail(actor, "a/m", permit=Permit(opened.epoch))
    assert (await actor.snapshot())["a/m"].phase == "closed"

    await fail(actor, "a/m", permit=Permit(opened.epoch + 1))
    assert (await actor.snapshot())["a/m"].phase == "open"


async def test_an_operator_opens_and_closes(actor):
    assert (await actor.operate("a/m", "open")).phase == "open"
    assert (await actor.operate("a/m", "close")).phase == "closed"
    assert (await actor.watch(0, 0.0))[1]["a/m"].phase == "closed"


async def test_the_last_endpoint_of_a_group_stays(clock):
    actor = BreakerActor(groups=(frozenset({"a/m", "b/m"}),), clock=clock)
    await fail(actor, "a/m")
    await fail(actor, "b/m")

    statuses = await actor.snapshot()

    assert (statuses["a/m"].phase, statuses["b/m"].phase) == ("open", "closed")


async def test_a_restarted_actor_is_closed_and_its_words_are_newer(actor, clock):
    await fail(actor, "a/m")
    old = (await actor.snapshot())["a/m"]
    clock.now += 2.0
    restarted = BreakerActor(clock=clock, wall=clock.unix)
    assert await restarted.snapshot() == {}

    await fail(restarted, "a/m", permit=Permit(old.epoch))

    assert (await restarted.snapshot())["a/m"].phase == "open"
    assert (await restarted.snapshot())["a/m"].epoch > old.epoch
