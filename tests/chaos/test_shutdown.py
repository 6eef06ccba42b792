"""The end of the whole: what is open comes to its end, and nothing is left behind."""

import asyncio
from collections import Counter

import pytest

from compass_ray.storage.audit import audit

from .evidence import standing, unfinished
from .streams import STREAMS, open_streams

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


async def test_at_a_shutdown_every_open_stream_ends_well_and_all_leases_are_back(
    world, session, slow_streams
):
    tasks = await open_streams(session)

    await asyncio.to_thread(world.cluster.drain)  # what `compass run` does at SIGTERM

    ended = await asyncio.gather(*tasks)
    assert Counter(kind for kind, _ in ended) == {"done": STREAMS}
    assert sum(leased for _, leased in standing(world.ledger_file).values()) == 0
    assert unfinished(world.state) == ()
    assert list((world.state / "journal").iterdir()) == []
    assert audit(world.ledger_file).mistakes == ()
