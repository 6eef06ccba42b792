"""A provider that is down while callers go on: nobody notices, and it is left in peace."""

import asyncio
import itertools
import time

import pytest

from .evidence import come_to_rest, postings
from .load import CHAT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

BODY = {"model": "sim", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 5}


async def ask(session):
    async with session.post(CHAT, json=BODY) as answer:
        await answer.read()
        return answer


async def test_three_replicas_send_a_dead_primary_one_probe_at_a_time(world, session):
    primary = (await ask(session)).headers["x-compass-provider"]
    dead = {"match": {"provider": primary}, "then": {"ttft_s": 0.2, "fault": "reset"}}
    world.simulator.script([dead])
    statuses, until = [], time.monotonic() + 8.0

    async def caller():
        while time.monotonic() < until:
            statuses.append((await ask(session)).status)

    await asyncio.gather(*(caller() for _ in range(20)))

    hits = [(e["started_at"], e["ended_at"]) for e in world.simulator.log() if e["fault"]]
    # The circuit opens after the first failures at the earliest, and for a second.
    probes = [hit for hit in hits if hit[0] >= hits[0][1] + 1.0]
    assert set(statuses) == {200}
    assert probes
    assert len(probes) <= 3  # after 1, 3 and 7 seconds
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(probes))


async def test_a_revoked_key_costs_no_request_opens_the_circuit_at_once_and_is_not_shown(
    world, session
):
    primary = (await ask(session)).headers["x-compass-provider"]
    revoked = {"match": {"provider": primary}, "then": {"error": 401}}
    world.simulator.script([revoked])

    answers = [await ask(session) for _ in range(20)]

    hits = [entry for entry in world.simulator.log() if entry["status"] == 401]
    assert {answer.status for answer in answers} == {200}
    assert 1 <= len(hits) <= 3  # each replica may learn it by itself
    logged = [text for _, text in world.logs()]
    assert any("ProviderAuthFailed" in text for text in logged)
    assert not any(key in text for key in world.provider_keys for text in logged)
    await asyncio.to_thread(come_to_rest, world)
    assert all(posting.cost >= 0 for posting in postings(world.ledger_file))
