"""A provider with several keys, through the whole pipeline, before the simulator."""

import logging
import time

import pytest

from compass_ray.gateway.key_ring import KeyRing
from compass_ray.providers.base import Target
from compass_ray.providers.client import ProviderClient
from compass_ray.providers.registry import wire
from compass_ray.simulator import SimulatorProcess
from compass_ray.simulator.embeddings import DIMENSIONS
from compass_ray.types.errors import AllAttemptsFailed
from compass_ray.types.settings import TimeoutSettings
from compass_ray.types.status import ProviderKey

from .conftest import Provider, answer, embedder, endpoint

pytestmark = pytest.mark.server

TIMEOUTS = TimeoutSettings(connect=2.0, first_byte=5.0, idle=2.0, total=10.0)
GOOD, BAD = "sk-canary-good", "sk-revoked-canary"


@pytest.fixture(scope="module")
def process():
    with SimulatorProcess(seed=1) as process:
        yield process


class Ring:
    """A gateway whose only provider has these keys, and what became of it."""

    def __init__(self, simulator, world, secrets, **more):
        self.simulator = simulator
        self.now = [1_000.0]
        self.alarms = []
        client = ProviderClient(wire("openai"), TIMEOUTS, 8, None)
        self.ring = KeyRing(client, self.alarms.append, lambda: self.now[0])
        self.url = f"{simulator.url}/openai/v1"
        self.keys = tuple(ProviderKey(f"KEY_{n}", one) for n, one in enumerate(secrets))
        self.ring.target = Target(self.url, secrets[0], keys=self.keys)
        chat = endpoint("openai", "sim-1")
        embeds = embedder("openai", "embed", DIMENSIONS)
        listed = [chat, embeds, *more.pop("endpoints", ())]
        self.world = world(openai=self.ring, endpoints=listed, monotonic=time.monotonic, **more)

    async def chat(self, **fields):
        return await self.world.chat(model="sim-1", **fields)

    def statuses(self):
        return [entry["status"] for entry in self.simulator.log()]


@pytest.fixture
async def ring(process, world):
    rings = []

    def build(*secrets, **more):
        process.reset()
        rings.append(Ring(process, world, secrets, **more))
        return rings[-1]

    yield build
    for one in rings:
        await one.ring.close()


def nth(*numbers, **then):
    return {"match": {"nth": list(numbers)}, "then": then}


async def test_a_dead_key_leaves_the_pool_with_an_alarm_and_no_caller_hears_of_it(ring, caplog):
    r = ring(BAD, GOOD)

    replies = [await r.chat() for _ in range(4)]

    assert [len(reply.job.attempts) for reply in replies] == [1] * 4
    assert r.statuses() == [401, 200, 200, 200, 200]
    assert r.alarms == ["KEY_0"]
    (alarm,) = [one for one in caplog.records if one.name == "compass.keys"]
    assert alarm.levelno == logging.WARNING
    assert "KEY_0" in alarm.getMessage()
    assert "canary" not in caplog.text


async def test_a_dead_key_is_no_fault_of_the_endpoint(ring):
    r = ring(BAD, GOOD)

    await r.chat()

    assert r.world.circuits.statuses(r.now[0])["openai/sim-1"].phase == "closed"


async def test_a_key_comes_back_after_a_probe(ring, caplog):
    caplog.set_level(logging.INFO, logger="compass.keys")
    r = ring(GOOD, GOOD + "2")
    r.simulator.script([nth(1, error={"status": 401})])
    await r.chat()

    r.now[0] += 60.0
    for _ in range(3):
        await r.chat()

    assert r.statuses() == [401, 200, 200, 200, 200]
    assert "accepts the key in KEY_0 again" in caplog.text
    assert r.alarms == ["KEY_0"]


async def test_a_probe_that_fails_is_heard_by_nobody_either(ring):
    r = ring(BAD, GOOD)
    await r.chat()

    r.now[0] += 60.0
    replies = [await r.chat() for _ in range(2)]

    assert r.statuses() == [401, 200, 401, 200, 200]
    assert [len(reply.job.attempts) for reply in replies] == [1, 1]


async def test_where_every_key_is_dead_the_provider_is(ring):
    r = ring(BAD, BAD + "2", endpoints=[endpoint("z", "sim-1")], z=Provider(answer()))

    reply = await r.chat()

    assert reply.endpoint.id == "z/sim-1"
    assert r.statuses() == [401, 401]
    assert r.world.circuits.statuses(r.now[0])["openai/sim-1"].phase == "open"
    assert r.alarms == ["KEY_0", "KEY_1"]


async def test_a_rate_limit_rests_its_key_and_the_next_goes_on(ring):
    r = ring(GOOD, GOOD + "2")
    limit = {"status": 429, "retry_after": "30"}
    r.simulator.script([nth(1, error=limit)])

    replies = [await r.chat() for _ in range(3)]

    assert r.statuses() == [429, 200, 200, 200]
    assert [len(reply.job.attempts) for reply in replies] == [1, 1, 1]
    assert r.world.slept == []


async def test_where_every_key_rests_the_endpoint_does_until_the_first_is_ready(ring):
    r = ring(GOOD, GOOD + "2", attempts=1)
    slow, fast = ({"status": 429, "retry_after": s} for s in ("30", "20"))
    r.simulator.script([nth(1, error=slow), nth(2, error=fast)])

    with pytest.raises(AllAttemptsFailed) as failure:
        await r.chat()

    assert failure.value.retry_after == 20.0
    assert r.statuses() == [429, 429]
    assert r.world.circuits.cools_for("openai/sim-1", r.now[0]) >= 20.0


async def test_a_limit_that_a_good_answer_tells_rests_its_key_alone(ring):
    r = ring(GOOD, GOOD + "2")
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30s"}
    r.simulator.script([nth(1, headers=spent)])

    await r.chat()

    assert r.world.circuits.cools_for("openai/sim-1", r.now[0]) == 0.0
    assert (await r.chat()).endpoint.id == "openai/sim-1"


async def test_a_stream_begins_with_a_key_that_lives(ring):
    r = ring(BAD, GOOD)

    reply = await r.chat(stream=True)
    chunks = [chunk async for chunk in reply.chunks()]
    await reply.close()

    assert chunks[-1]["choices"][0]["finish_reason"]
    assert r.statuses() == [401, 200]


async def test_embeddings_are_made_with_a_key_that_lives(ring):
    r = ring(BAD, GOOD)

    reply = await r.world.embed(model="embed", input="hello")

    assert reply.body["usage"]["prompt_tokens"] == 2
    assert r.statuses() == [401, 200]


async def test_other_faults_are_the_endpoint_s(ring):
    r = ring(GOOD, GOOD + "2", attempts=1)
    r.simulator.script([nth(1, error={"status": 500})])

    with pytest.raises(AllAttemptsFailed):
        await r.chat()

    assert r.statuses() == [500]
    assert r.alarms == []


async def test_new_keys_begin_anew_and_no_keys_cannot_be_called(ring):
    r = ring(BAD)
    with pytest.raises(AllAttemptsFailed):
        await r.chat()

    r.ring.target = None
    assert r.ring.target is None
    r.ring.target = Target(r.url, GOOD, keys=(ProviderKey("KEY_0", GOOD),))
    r.now[0] += 10_000.0

    assert (await r.world.embed(model="embed", input="hello")).endpoint.id == "openai/embed"


def test_no_key_shows_in_a_repr():
    target = Target("http://x", GOOD, keys=(ProviderKey("KEY_0", GOOD),))

    assert "canary" not in repr(target)
    assert "KEY_0" in repr(target)
