import pytest

from compass_ray.actors.metrics import MetricsHub
from compass_ray.telemetry import REQUESTS, Telemetry
from compass_ray.types.events import Record
from compass_ray.types.routing import Endpoint, Tier
from compass_ray.types.usage import Usage


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hub(clock):
    return MetricsHub(clock)


def counted(requests, active=0):
    telemetry = Telemetry([Endpoint("p", "m", "m", Tier.FAST, 1000, 100)])
    for _ in range(requests):
        telemetry.record(
            Record("r", "a", "k", "p", "m", 3, 200, False, (), Usage(1, 1), 5, 0.1, None, 0.0)  # noqa: FBT003
        )
    telemetry.active(active)
    return telemetry.snapshot()


async def requests(hub):
    return (await hub.summary())["requests"]["total"]


async def test_a_later_push_replaces_the_earlier_one(hub):
    await hub.push("a", counted(3))
    await hub.push("a", counted(5))
    await hub.push("b", counted(2))

    assert await requests(hub) == 7
    assert b'compass_requests_total{model="m",provider="p",status="200"} 7.0' in (
        await hub.exposition([])
    )


async def test_a_replica_that_is_gone_keeps_its_counters_and_loses_its_gauges(hub, clock):
    await hub.push("a", counted(3, active=4))
    clock.now = 5.0
    await hub.push("b", counted(2, active=1))
    assert (await hub.summary())["active_tasks"] == 5

    clock.now = 10.0

    found = await hub.summary()
    assert (found["replicas"], found["active_tasks"]) == (1, 1)
    assert found["requests"]["total"] == 5


async def test_counters_never_fall_and_memory_does_not_grow_over_many_replicas(hub, clock):
    for number in range(50):
        await hub.push(f"r{number}", counted(1))
        assert await requests(hub) == number + 1
        clock.now += 1800.0

    assert len(hub._latest) == 2
    assert hub._gone.counters[REQUESTS.name] == {("p", "m", "200"): 48}
