"""A whole node is lost: only what was under way on it is, and its money comes back."""

import asyncio
from collections import Counter

import pytest

from compass_ray.storage.audit import audit

from .conftest import SEED
from .evidence import come_to_rest, postings, standing, unfinished
from .nodes import joined
from .streams import STREAMS, cut, one, open_streams
from .world import REPLICA, REPLICAS, running

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with running(tmp_path_factory.mktemp("nodes"), SEED, whole=False) as world:
        yield world


@pytest.fixture(scope="module")
def nodes(world):
    with joined(world, 2) as nodes:
        yield nodes


@pytest.mark.parametrize("how", ["kill", "kill_raylet"])
async def test_a_lost_node_ends_its_own_streams_only_and_its_money_comes_back(
    world, nodes, session, slow_streams, how
):
    tasks = await open_streams(session)

    await asyncio.to_thread(getattr(nodes.first, how))
    await cut(tasks)
    others = Counter([await one(session) for _ in range(40)])
    left = len(world.processes(REPLICA))
    ended = await asyncio.gather(*tasks)
    await asyncio.to_thread(nodes.replace_first)
    await asyncio.to_thread(world.wait_whole)
    await asyncio.to_thread(come_to_rest, world)

    outcomes = {posting.request_id: posting.outcome for posting in postings(world.ledger_file)}
    lost = {request_id for kind, request_id in ended if kind != "done"}
    assert others == {200: 40}
    assert left == REPLICAS - 1
    assert 0 < len(lost) < STREAMS
    assert {outcomes[request_id] for request_id in lost} == {"expired"}
    assert not unfinished(world.state)
    assert not any(leased for _, leased in standing(world.ledger_file).values())
    assert audit(world.ledger_file).mistakes == ()
