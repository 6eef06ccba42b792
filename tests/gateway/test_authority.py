"""Three replicas and the plain actor in one process, on one fake clock."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from compass_ray.actors.breaker import BreakerActor
from compass_ray.gateway.authority import Follower, Pace
from compass_ray.gateway.circuits import Circuits
from compass_ray.types.errors import ProviderFault

A = "a/m"
FAULT = ProviderFault("x")


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


class Dead:
    """An authority whose process is gone."""

    async def report(self, replica, outcomes):
        raise ConnectionError

    async def watch(self, version, wait):
        raise ConnectionError

    async def lease_probe(self, endpoint_id, replica, holding):
        raise ConnectionError


class Cluster:
    def __init__(self, replicas=3):
        self.clock = Clock()
        self.actor = BreakerActor(clock=self.clock, wall=self.clock)
        self.circuits = [Circuits(clock=self.clock) for _ in range(replicas)]
        self.followers = self.follow(self.actor)

    def follow(self, authority, pace=None):
        named = enumerate(self.circuits)
        return [Follower(f"r{number}", circuits, authority, pace) for number, circuits in named]

    async def sync(self):
        for follower in self.followers:
            await follower.flush()
        for follower in self.followers:
            await follower.listen(0.0)

    def restart(self):
        self.actor = BreakerActor(clock=self.clock, wall=self.clock)
        self.followers = self.follow(self.actor)

    def call(self, replica, error=None):
        circuits = self.circuits[replica]
        permit = circuits.admit(A, self.clock.now)
        if permit is not None:
            circuits.report(permit, error, self.clock.now)
        return permit

    def excluded(self):
        return [A in circuits.excluded(self.clock.now) for circuits in self.circuits]


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the loops under test tell nobody
            await asyncio.sleep(0)


@asynccontextmanager
async def running(followers):
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def cluster():
    return Cluster()


async def test_failures_spread_over_replicas_open_the_circuit_for_all(cluster):
    for replica in (0, 1, 2, 0, 1):
        cluster.call(replica, FAULT)
    assert cluster.excluded() == [False] * 3

    await cluster.sync()

    assert cluster.excluded() == [True] * 3


async def test_one_error_of_one_replica_opens_for_nobody(cluster):
    await cluster.sync()
    for _ in range(100):
        cluster.call(0)
        cluster.call(1)
    cluster.call(2, FAULT)

    await cluster.sync()

    assert cluster.excluded() == [False] * 3


async def test_a_replica_that_alone_fails_stops_alone(cluster):
    for _ in range(50):
        cluster.call(0)
        cluster.call(1)
    await cluster.sync()
    for _ in range(4):
        cluster.call(2, FAULT)
    await cluster.sync()
    cluster.call(0)
    await cluster.sync()
    cluster.call(2, FAULT)

    await cluster.sync()

    assert cluster.excluded() == [False, False, True]


async def test_half_open_one_probe_runs_in_the_whole_cluster_and_three_close_for_all(cluster):
    for _ in range(5):
        cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 60.0

    for _ in range(3):
        for follower in cluster.followers:
            await follower.lease()
        permits = [circuits.admit(A, cluster.clock.now) for circuits in cluster.circuits]
        assert sum(permit is not None for permit in permits) == 1
        for circuits, permit in zip(cluster.circuits, permits, strict=True):
            if permit is not None:
                circuits.report(permit, None, cluster.clock.now)
        await cluster.sync()

    assert cluster.excluded() == [False] * 3


async def test_a_failed_probe_opens_again_for_five_minutes_everywhere(cluster):
    for _ in range(5):
        cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 60.0
    await cluster.followers[1].lease()
    assert cluster.call(1, FAULT) is not None
    await cluster.sync()

    cluster.clock.now += 299.0
    await asyncio.gather(*(follower.lease() for follower in cluster.followers))
    assert [cluster.call(replica) for replica in range(3)] == [None] * 3
    cluster.clock.now += 1.0
    await asyncio.gather(*(follower.lease() for follower in cluster.followers))

    assert sum(cluster.call(replica) is not None for replica in range(3)) == 1


async def test_the_probe_of_a_replica_that_died_is_lost_and_another_gets_one(cluster):
    for _ in range(5):
        cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 60.0
    await cluster.followers[0].lease()
    await cluster.followers[1].lease()
    assert cluster.call(1) is None
    cluster.clock.now += 3.0

    await cluster.followers[1].lease()

    assert cluster.call(1) is not None


async def test_a_long_probe_is_renewed_by_whoever_runs_it(cluster):
    for _ in range(5):
        cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 60.0
    await cluster.followers[0].lease()
    assert cluster.circuits[0].admit(A, cluster.clock.now) is not None

    for _ in range(20):
        cluster.clock.now += 1.0
        await cluster.followers[0].lease()
        await cluster.followers[1].lease()

    assert cluster.call(0) is None
    assert cluster.call(1) is None


async def test_a_probe_whose_lease_never_arrived_is_free_again_at_the_next_question(cluster):
    for _ in range(5):
        cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 60.0
    await cluster.actor.lease_probe(A, "r0", ())  # nobody hears the answer

    await cluster.followers[1].lease()
    assert cluster.call(1) is None
    await cluster.followers[0].lease()

    assert cluster.call(0) is not None


async def test_without_the_authority_each_replica_goes_on_by_itself(cluster):
    cluster.followers = cluster.follow(Dead())
    await cluster.sync()
    for _ in range(5):
        cluster.call(0, FAULT)
    assert cluster.excluded() == [True, False, False]
    cluster.clock.now += 60.0

    for _ in range(3):
        assert cluster.call(0) is not None

    assert cluster.circuits[0].statuses(cluster.clock.now)[A].phase == "closed"


async def test_when_the_authority_falls_silent_leases_are_no_longer_waited_for(cluster):
    for _ in range(5):
        cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 60.0
    assert cluster.excluded() == [True] * 3

    cluster.followers = cluster.follow(Dead())
    await cluster.sync()

    assert cluster.excluded() == [False] * 3


async def test_a_restarted_authority_neither_opens_nor_closes_anything_by_itself(cluster):
    for _ in range(5):
        cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 1.0
    cluster.restart()
    await cluster.sync()
    assert cluster.excluded() == [True] * 3

    cluster.clock.now += 60.0
    for follower in cluster.followers:
        await follower.lease()

    assert sum(cluster.call(replica, FAULT) is not None for replica in range(3)) == 1


async def test_a_restarted_authority_learns_what_still_fails(cluster):
    cluster.call(0, FAULT)
    await cluster.sync()
    cluster.clock.now += 1.0
    cluster.restart()
    for replica in (0, 1, 2, 0, 1):
        cluster.call(replica, FAULT)

    await cluster.sync()

    assert cluster.excluded() == [True] * 3


async def test_running_it_tells_the_others_without_being_asked(cluster, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        cluster.call(0, FAULT)

    async with running(cluster.followers):
        await until(lambda: all(cluster.excluded()))

    assert "circuit 'a/m' after a report of replica 'r0'" in caplog.text


async def test_running_it_closes_the_circuit_again_by_leased_probes(cluster):
    followers = cluster.follow(cluster.actor, Pace(lease_every=0.0))
    for _ in range(5):
        cluster.call(0, FAULT)
    async with running(followers):
        await until(lambda: all(cluster.excluded()))
        cluster.clock.now += 60.0

        def calls_get_through():
            return None not in [cluster.call(replica) for replica in range(3)]

        await until(calls_get_through)

    assert (await cluster.actor.snapshot())[A].phase == "closed"


async def test_a_hanging_authority_is_given_up():
    class Hanging(Dead):
        async def watch(self, version, wait):
            await asyncio.Event().wait()

    circuits = Circuits(clock=Clock())
    circuits.hear(1, {})

    assert not await Follower("r0", circuits, Hanging(), Pace(grace=0.0)).listen(0.0)

    assert circuits.alone
