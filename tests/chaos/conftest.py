"""One real Compass with three replicas for the whole folder, and it ends with it."""

import os

import aiohttp
import pytest

from .world import running

SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    with running(tmp_path_factory.mktemp("chaos"), SEED) as world:
        yield world


@pytest.fixture(autouse=True)
def _calm(request):
    """Begin each test with providers that are well and known to be."""
    if "world" in request.fixturenames:
        world = request.getfixturevalue("world")
        world.simulator.reset()
        world.close_circuits()


@pytest.fixture
async def session(world):
    headers = {"authorization": f"Bearer {world.keys['red']}"}
    unlimited = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        world.url, headers=headers, connector=unlimited, timeout=aiohttp.ClientTimeout(40)
    ) as session:
        yield session


@pytest.fixture
def slow_streams(world):
    """Streams of 40 tokens in 4 seconds."""
    world.simulator.script([{"match": {"model": "sim-1"}, "then": {"tokens": 40, "tpot_s": 0.1}}])
