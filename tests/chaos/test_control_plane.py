"""Serve's own processes die, and a deploy is broken: who is served stays served."""

import asyncio
from collections import Counter

import pytest

from .streams import one
from .world import REPLICA, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


async def ask_until(session, done):
    """Return what the answers were until `done` is set."""
    statuses = Counter()
    while not done.is_set():
        statuses[await one(session)] += 1
    return statuses


async def killed_and_back(world, title):
    """Kill Serve's own process of that title, and wait for the next one."""
    pid = await asyncio.to_thread(world.kill, title)
    assert pid is not None
    await asyncio.to_thread(wait, lambda: world.processes(title).keys() - {pid}, 60)


async def test_without_serve_s_controller_nobody_notices_anything(world, session):
    done = asyncio.Event()
    asking = [asyncio.create_task(ask_until(session, done)) for _ in range(4)]
    replicas = set(world.processes(REPLICA))

    await killed_and_back(world, "ServeController")
    done.set()
    statuses = sum(await asyncio.gather(*asking), Counter())

    assert statuses.keys() == {200}
    assert replicas == set(world.processes(REPLICA))


async def test_a_killed_ingress_is_back_by_itself_before_the_same_replicas(world, session):
    replicas = set(world.processes(REPLICA))
    await killed_and_back(world, "HAProxyManager")

    async with asyncio.timeout(30):
        while await one(session) != 200:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.1)

    assert replicas == set(world.processes(REPLICA))


async def test_a_broken_configuration_leaves_the_old_one_at_work(world, session):
    replicas = set(world.processes(REPLICA))

    await asyncio.to_thread(world.redeploy, {"max_nn": 7})
    told = await asyncio.to_thread(
        wait, lambda: [text for _, text in world.logs() if "server.max_nn" in text], 60
    )
    statuses = Counter([await one(session) for _ in range(40)])

    assert any("ConfigError" in text for text in told)
    assert statuses == {200: 40}
    assert replicas == set(world.processes(REPLICA))
