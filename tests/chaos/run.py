"""One run: a calm, a storm, a calm; then everything that was seen is checked."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from . import checkers, evidence, nemesis
from .generator import TENANTS, canary, operations
from .history import History, Seen
from .load import Load
from .nemesis import Deed
from .world import World, configuration

CALM_SECONDS = 5.0
RECOVERY_SECONDS = 10.0
"""What Compass is given to be as before, once the last fault has ended."""

CLIENTS = 12
_LOOK_EVERY = 0.1


@dataclass
class Report:
    """What came of a run; `problems` is empty when every invariant holds."""

    seed: int
    seconds: float
    history: Path
    problems: list[str]
    answered: Counter = field(default_factory=Counter)
    deeds: Counter = field(default_factory=Counter)
    calls: int = 0
    postings: int = 0

    @property
    def again(self) -> str:
        """Return the command that repeats the run."""
        return f"python -m tests.chaos --seconds {self.seconds:g} --seed {self.seed}"

    def __str__(self) -> str:
        """Return it for people."""
        lines = [
            (
                f"seed {self.seed}, {self.seconds:g} s of faults: {self.deeds.total()} deeds, "
                f"{self.answered.total()} operations, {self.calls} calls, {self.postings} postings"
            ),
            f"outcomes: {dict(self.answered.most_common())}",
            f"deeds: {dict(self.deeds.most_common())}",
            *self.problems[:40],
        ]
        if self.problems:
            lines += [f"history: {self.history}", f"to repeat: {self.again}"]
        return "\n".join(lines)


async def run(world: World, seed: int, seconds: float, folder: Path) -> Report:
    """Storm for so many seconds and report; the simulator's log must be empty."""
    await asyncio.to_thread(world.wait_whole)  # an earlier test may have killed a replica
    history = History(folder / f"history-{seed}.jsonl")
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    secrets = (*world.provider_keys, *world.keys.values())
    load = Load(world.url, world.keys, history, clock, secrets)
    stop, worst = asyncio.Event(), {}
    earlier = {posting.id for posting in evidence.postings(world.ledger_file)}
    loading = asyncio.create_task(load.run(operations(seed), CLIENTS, stop))
    watching = asyncio.create_task(watch(world, worst))
    storm = CALM_SECONDS, CALM_SECONDS + seconds
    deeds = nemesis.schedule(seed, *storm)
    enemy = Enemy(world, history, clock, random.Random(f"enemy:{seed}"))
    await until(clock, storm[0])
    first = await asyncio.to_thread(evidence.footprint, world)
    await enemy.act(deeds)
    await until(clock, storm[1] + RECOVERY_SECONDS + CALM_SECONDS)
    stop.set()
    await loading
    watching.cancel()
    history.close()
    await asyncio.to_thread(evidence.come_to_rest, world)
    canaries = tuple(canary(seed, tenant) for tenant in TENANTS)
    found = evidence.collect(world, (*secrets, *canaries), earlier)
    seen = history.seen
    problems = [
        *checkers.nothing_is_a_defect(seen),
        *checkers.books_add_up(found, worst),
        *checkers.everything_ended(seen, found, history.invoked),
        *checkers.the_bill_is_right(seen, found),
        *checkers.nothing_told_is_lost(seen, found),
        *checkers.each_call_is_posted_once(seen, found),
        *checkers.tenants_are_apart(seen),
        *checkers.no_secret_is_logged(found),
        *checkers.all_is_as_before(
            [one for one in seen if one.ended < storm[0]],
            [one for one in seen if one.began > storm[1] + RECOVERY_SECONDS],
            (first, evidence.footprint(world)),
        ),
    ]
    return Report(
        seed,
        seconds,
        history.file,
        problems,
        Counter(_in_words(one) for one in seen),
        Counter(f"{deed.kind} {deed.fault or deed.target}" for deed in deeds),
        len(found.calls),
        len(found.postings),
    )


class Enemy:
    """Carries deeds out."""

    def __init__(self, world: World, history: History, clock, chance: random.Random) -> None:
        self._world = world
        self._history = history
        self._clock = clock
        self._chance = chance

    async def act(self, deeds: list[Deed]) -> None:
        """Do each in its time, and end those that last."""
        async with asyncio.TaskGroup() as tasks:
            for deed in deeds:
                tasks.create_task(self._do(deed))

    async def _do(self, deed: Deed) -> None:
        await until(self._clock, deed.at)
        self._history.note(str(deed), self._clock())
        world = self._world
        if deed.kind == "kill":
            await asyncio.to_thread(world.kill, deed.target, self._chance.choice)
        elif deed.kind == "pause":
            resume = await asyncio.to_thread(world.pause, deed.target, self._chance.choice)
            try:
                await asyncio.sleep(deed.lasts)
            finally:
                resume()
        else:
            match = {"provider": deed.target, "probability": deed.share}
            rule = {"match": match, "then": nemesis.FAULTS[deed.fault]}
            await asyncio.to_thread(world.simulator.script, [rule])
            await asyncio.sleep(deed.lasts)
            await asyncio.to_thread(world.simulator.script, [])


async def watch(world: World, worst: dict[str, str]) -> None:
    """Look at the books again and again: what is spent and on lease never exceeds a limit."""
    accounts = configuration(world.state, {})["accounts"]
    limits = {
        name: round(float(allowance["usd"]) * 1e6)
        for name, account in accounts.items()
        for allowance in account.get("budget", {}).values()
    }
    while True:
        for bucket, (spent, leased) in evidence.standing(world.ledger_file).items():
            limit = limits.get(bucket.partition("@")[0])
            if limit is not None and spent + leased > limit:
                worst[bucket] = f"{bucket}: {spent} spent and {leased} on lease of {limit}"
        await asyncio.sleep(_LOOK_EVERY)


async def until(clock, at: float) -> None:
    """Sleep until `clock()` says `at`: the nemesis's schedule."""
    await asyncio.sleep(max(0.0, at - clock()))


def _in_words(one: Seen) -> str:
    status = one.status or ""
    return f"{one.outcome} {status} {one.error if one.outcome != 'ok' else ''}".strip()
