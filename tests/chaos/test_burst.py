"""1,000 requests at once at a limit for 666, over three replicas: 666 granted, nothing over."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import pytest

from compass_ray.storage.audit import audit

from .conftest import SEED
from .evidence import come_to_rest, select, standing, unfinished
from .load import CHAT
from .world import BURST_COST, REPLICA

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

LIMIT = 666 * BURST_COST
TOKENS = BURST_COST // 10
REFUSED = 402
_TRIES = 60


@dataclass
class Burst:
    """A thousand clients of one account; each asks until it gets an answer or a refusal."""

    world: object
    account: str
    statuses: Counter = field(default_factory=Counter)
    paid: int = 0
    troubles: Counter = field(default_factory=Counter)

    async def run(self, sizes, disturb=lambda: None, after=200):
        """Ask for so many tokens each, at once; `disturb` once `after` answers have come."""
        headers = {"authorization": f"Bearer {self.world.keys[self.account]}"}
        answered, disturbed = 0, False

        async def client(session, tokens):
            nonlocal answered, disturbed
            for _ in range(_TRIES):
                status, cost = await _ask(session, tokens)
                if status == 200:
                    self.paid += cost
                    answered += 1
                    if answered >= after and not disturbed:
                        disturbed = True
                        await asyncio.to_thread(disturb)
                if status in (200, REFUSED):
                    break
                self.troubles[f"{status} {cost}"] += 1
                await asyncio.sleep(0.1)  # what a client does after a 503
            self.statuses[status] += 1

        connections = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            self.world.url, connector=connections, headers=headers
        ) as session:
            await asyncio.gather(*(client(session, tokens) for tokens in sizes))
        await asyncio.to_thread(come_to_rest, self.world)

    def books(self):
        """Return what the account spent, has on lease, and its postings by outcome."""
        spent, leased = standing(self.world.ledger_file)[f"{self.account}@lifetime"]
        rows = select(
            self.world.ledger_file,
            "SELECT outcome, count(*) FROM postings "
            f"WHERE buckets LIKE '{self.account}@%' GROUP BY outcome",
        )
        return spent, leased, dict(rows)


async def _ask(session, tokens):
    body = {
        "model": "burst",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": tokens,
    }
    try:
        async with session.post(CHAT, json=body) as answer:
            raw = await answer.read()
            if answer.status not in (200, REFUSED):
                return answer.status, raw.decode(errors="replace")[:300]
            return answer.status, round(1e6 * float(answer.headers.get("x-compass-cost-usd", 0)))
    except (aiohttp.ClientError, OSError):
        return 0, 0


@pytest.fixture(autouse=True)
def _every_answer_is_as_long_as_allowed(world, _calm_simulator):
    rule = {"match": {"model": "gpt-6"}, "then": {"tokens": 1000, "ttft_s": 0.2}}
    world.simulator.script([rule])


async def test_of_a_thousand_at_once_exactly_those_that_fit_are_answered(world):
    burst = Burst(world, "equal")

    await burst.run([TOKENS] * 1000)

    assert burst.statuses == {200: 666, REFUSED: 334}
    assert burst.paid == LIMIT
    spent, leased, outcomes = burst.books()
    assert (spent, leased) == (LIMIT, 0)
    assert outcomes["settled"] == 666


async def test_with_a_replica_killed_in_between_not_one_more_and_not_one_less_is_granted(world):
    burst = Burst(world, "killed")

    await burst.run([TOKENS] * 1000, disturb=lambda: world.kill(REPLICA))
    # What the dead replica had on lease is free again: who was refused may ask once more.
    await burst.run([TOKENS] * burst.statuses[REFUSED])

    spent, leased, outcomes = burst.books()
    assert (spent, leased) == (LIMIT, 0)
    assert outcomes["settled"] + outcomes.get("expired", 0) == 666
    assert burst.statuses[200] <= outcomes["settled"]
    assert burst.statuses.keys() == {200, REFUSED}, burst.troubles.most_common(5)


async def test_mixed_sizes_with_a_killed_replica_never_add_up_to_more_than_the_limit(world):
    burst = Burst(world, "mixed")
    chance = random.Random(SEED)
    sizes = [chance.choice((1, 7, 40, 90)) for _ in range(1000)]

    await burst.run(sizes, disturb=lambda: world.kill(REPLICA))

    spent, leased, _ = burst.books()
    assert burst.paid <= spent <= LIMIT
    assert leased == 0
    assert burst.statuses.keys() == {200, REFUSED}, burst.troubles.most_common(5)
    assert audit(world.ledger_file).mistakes == ()
    assert unfinished(world.state) == ()
