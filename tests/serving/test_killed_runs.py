"""A run whose owner dies at every event: the result is equal, and every call was made once.

Gateway, idempotency store and provider live on, as they do where one process is killed.
"""

import asyncio
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import orjson
import pytest

from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.gateway.once import Replay
from compass_ray.simulator import SimulatorProcess
from compass_ray.types.accounts import Caller
from compass_ray.types.workflows import Ended, Finished, Order

from .test_replica import replica

__all__ = ["replica"]  # a fixture

pytestmark = pytest.mark.server

SAY = {"prompt": "say {{previous}}", "model": "sim", "max_tokens": 9}
PLAN = {
    "chain": [
        SAY,
        SAY | {"id": "draft"},
        {"parallel": [SAY, {"chain": [SAY, SAY]}, SAY, SAY], "aggregate": "vote"},
        {
            "delegate": SAY | {"prompt": "split into {{width}}"},
            "worker": SAY | {"prompt": "work on {{task}}"},
            "combine": SAY | {"prompt": "combine {{answers}}"},
            "width": 3,
        },
        {
            "debate": [SAY, SAY | {"prompt": "object to {{answers}}"}],
            "rounds": 2,
            "judge": SAY | {"prompt": "judge {{answers}}"},
        },
        {
            "try": SAY | {"prompt": "try {{draft}}"},
            "check": {"contains": ["never said"], "judge": SAY},
            "fallback": SAY | {"prompt": "instead of {{failed}}: {{failure}}"},
        },
        SAY | {"prompt": "end with {{previous}}"},
    ]
}
CALLS = 20
SCRIPT = [
    {"match": {"contains": "split into"}, "then": {"text": '["one", "two", "three"]'}},
    {"match": {"contains": "object to"}, "then": {"text": "I object."}},
    {"match": {"contains": "instead of"}, "then": {"text": "Done otherwise."}},
    {"match": {"contains": "end with"}, "then": {"text": "The end."}},
    {"match": {}, "then": {"text": "So it is."}},
]
MODEL = {
    "tier": 3,
    "context_window": 100_000,
    "max_output_tokens": 1_000,
    "endpoints": [{"provider": "openai", "wire_model": "s", "price": {"input": 2, "output": 10}}],
}
OTHERS = ("azure", "anthropic", "google", "huggingface", "replicate", "local")
ORDER = Order("run", "workflow", "", Caller("alice", "acme"), {"plan": PLAN}, "it", 10**6, 1, 1e12)


class Killed(Exception):
    """The owner's process is gone."""


class Owner:
    """A Workflows actor whose process dies with a commit, `before` or after it is on disk."""

    def __init__(self, file, gateway, commits, *, before):
        self.dead = asyncio.Event()
        self.actor = WorkflowsActor(file, gateway, fail=lambda _code: self.dead.set())
        self._commit, self.actor._store.commit = self.actor._store.commit, self._counted
        self._left = commits
        self._before = before

    def _counted(self, orders, entries):
        self._left -= 1
        if self._left < 0 or (self._before and not self._left):
            raise Killed
        self._commit(orders, entries)
        if not self._left:
            raise Killed

    async def own(self, order):
        """Own the run until the process dies; return its history where it is over."""
        work = asyncio.create_task(self._to_the_end(order))
        died = asyncio.create_task(self.dead.wait())
        done, _ = await asyncio.wait({work, died}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, died):
            task.cancel()
        return work.result() if work in done else None

    async def _to_the_end(self, order):
        await self.actor.create(order)
        seen = []
        while not (seen and isinstance(seen[-1], Ended)):
            seen += await self.actor.events(order.id, "acme", len(seen), 30)
        return seen

    async def bury(self):
        """End what the process would have taken with it."""
        for task in self.actor._driving.values():
            task.cancel()
        tasks = [*self.actor._driving.values(), self.actor._group._writing]
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        await self.actor._disk.run(self.actor._store.close)


@pytest.fixture(scope="module")
def simulator():
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
async def gateway(replica, simulator):
    """A whole gateway before the simulator, which answers calls once per key."""
    simulator.reset()
    simulator.script(SCRIPT)
    providers = {name: {"enabled": False} for name in OTHERS}
    providers["openai"] = {"base_url": f"{simulator.url}/openai/v1"}
    inline = {"providers": providers, "models": {"sim": MODEL}}
    r, cluster = await replica(inline=inline, env=simulator.environment())
    await r.start()
    async with asyncio.timeout(10):
        while r.health()["status"] != "ok":  # noqa: ASYNC110  # another task hears of it
            await asyncio.sleep(0)

    async def run(body, caller, key):
        reply = await r.once.answer(orjson.dumps(body), caller, f"req_{key}", key)
        return orjson.loads(reply.body()) if isinstance(reply, Replay) else reply.body

    async def answer(body, caller, key):
        return await asyncio.shield(run(body, caller, key))  # a replica goes on with a call

    yield SimpleNamespace(answer=answer)
    for provider in cluster.providers.values():
        await provider.close()


async def lived_through(order, file, gateway, commits, *, before):
    """Let owner after owner die after so many commits; return the history, and how many died."""
    owners = []
    try:
        while True:
            owners.append(Owner(file, gateway, commits, before=before))
            history = await owners[-1].own(order)
            if history is not None:
                return history, len(owners) - 1
    finally:
        for owner in owners:
            await owner.bury()


async def test_whenever_its_owner_dies_a_run_ends_the_same_and_each_call_is_made_once(
    gateway, simulator, tmp_path
):
    histories, deaths, called = {}, {}, {}
    # What an answer leads to is written with it: an owner writes less often than there are events.
    for name, commits, before in (
        ("never", 10**6, False),
        ("after each event", 1, False),
        ("before each event", 2, True),
    ):
        order = replace(ORDER, id=f"run {name}")
        log = len(simulator.log())
        histories[name], deaths[name] = await lived_through(
            order, tmp_path / "runs.db", gateway, commits, before=before
        )
        called[name] = Counter(one["asked"] for one in simulator.log()[log:])

    assert called["never"].total() == CALLS
    assert called["after each event"] == called["before each event"] == called["never"]
    assert deaths["never"] == 0
    assert min(deaths["after each event"], deaths["before each event"]) > CALLS // 2
    assert len({result(history) for history in histories.values()}) == 1


def result(history):
    """Return what came of a run, and what each of its calls answered."""
    *events, end = history
    finished = {(one.step, one.attempt, one.text) for one in events if isinstance(one, Finished)}
    return end.status, end.text, end.alternatives, frozenset(finished)
