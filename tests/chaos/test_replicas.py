"""A replica dies, stands still, or is replaced while streams are open."""

import asyncio
import time
from collections import Counter

import pytest

from .evidence import come_to_rest, postings, unfinished
from .streams import STREAMS, cut, one, open_streams
from .world import REPLICA, REPLICAS, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


async def test_a_killed_replica_ends_its_own_streams_only_and_all_are_billed(
    world, session, slow_streams
):
    tasks = await open_streams(session)
    before = set(world.processes(REPLICA))
    world.kill(REPLICA)
    killed_at = time.monotonic()
    await cut(tasks)

    others = [await one(session) for _ in range(40)]
    ended = await asyncio.gather(*tasks)
    await asyncio.to_thread(wait, lambda: len(world.processes(REPLICA)) == REPLICAS, 30)
    back_after = time.monotonic() - killed_at
    await asyncio.to_thread(come_to_rest, world)

    outcomes = {posting.request_id: posting.outcome for posting in postings(world.ledger_file)}
    how = Counter(kind for kind, _ in ended)
    lost = [request_id for kind, request_id in ended if kind != "done"]
    assert set(others) == {200}, others
    assert 0 < len(lost) < STREAMS
    assert how["done"] == STREAMS - len(lost)
    assert {outcomes[request_id] for request_id in lost} == {"expired"}
    assert {outcomes[request_id] for kind, request_id in ended if kind == "done"} == {"settled"}
    assert set(world.processes(REPLICA)) - before
    assert back_after < 30


async def test_a_rolling_deploy_lets_open_streams_end_and_refuses_nobody(
    world, session, slow_streams
):
    before = set(world.processes(REPLICA))
    tasks = await open_streams(session)
    deploying = asyncio.create_task(asyncio.to_thread(world.redeploy, {"max_n": 7}))

    others = []
    while not all(task.done() for task in tasks):
        others.append(await one(session))
    ended = await asyncio.gather(*tasks)
    await deploying
    await asyncio.to_thread(
        wait,
        lambda: (
            len(world.processes(REPLICA)) == REPLICAS
            and not before & world.processes(REPLICA).keys()
        ),
        60,
    )
    await asyncio.to_thread(come_to_rest, world)

    assert Counter(kind for kind, _ in ended) == {"done": STREAMS}
    assert set(others) == {200}, Counter(others)
    assert unfinished(world.state) == ()


async def test_a_replica_that_stands_still_keeps_its_reservations_and_goes_on(
    world, session, slow_streams
):
    tasks = await open_streams(session, 30)
    resume = world.pause(REPLICA)
    try:
        await asyncio.sleep(1.5)  # less than it allows a provider to be silent
    finally:
        resume()
    ended = await asyncio.gather(*tasks)
    await asyncio.to_thread(come_to_rest, world)

    outcomes = Counter(posting.id for posting in postings(world.ledger_file))
    mine = {
        posting.request_id: posting.outcome
        for posting in postings(world.ledger_file)
        if posting.request_id in {request_id for _, request_id in ended}
    }
    assert Counter(kind for kind, _ in ended) == {"done": 30}
    assert set(mine.values()) == {"settled"}
    assert max(outcomes.values()) == 1
    assert unfinished(world.state) == ()
