"""What earlier versions have written down is read, means the same, and goes on.

`histories` holds files of runs as they were, one for each change of what is stored or decided:
never edit one, add another.
"""

import asyncio
import sqlite3
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest

from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.policy.plans import read_plan
from compass_ray.policy.workflows import Machine
from compass_ray.storage.workflows import WorkflowStore
from compass_ray.types.settings import WebhookSettings
from compass_ray.types.workflows import BudgetReached, Ended, Failed, Finished, Started

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.sql"))
WHOLE, CUT = "run_whole", "run_cut"
ACCOUNT = "acme"
DECIDED = Started | BudgetReached | Ended


@pytest.fixture(params=HISTORIES, ids=lambda file: file.stem)
def file(request, tmp_path):
    with closing(sqlite3.connect(tmp_path / "runs.db")) as db:
        db.executescript(request.param.read_text())
    return tmp_path / "runs.db"


def test_every_decision_of_an_old_run_is_made_again(file):
    with closing(WorkflowStore(file)) as store:
        order, history = store.order(WHOLE), store.events(WHOLE)
    plan = read_plan(order.plan)
    machine = Machine(plan, order.input, order.budget, order.deadline_at, order.alerts)

    for (decided, _), group in groupby(history, lambda e: (isinstance(e, DECIDED), e.at)):
        events = tuple(group)
        if decided:
            assert machine.decide(events[0].at) == events
        for event in events:
            machine.apply(event)

    assert {type(event) for event in history} >= {Started, Finished, Failed, Ended}
    assert (machine.end.status, machine.end.text) == ("completed", "The end.")


async def test_an_old_run_that_was_cut_goes_on_to_the_same_end(file):
    with closing(WorkflowStore(file)) as store:
        whole, before = store.events(WHOLE), store.events(CUT)
    said = {one.step: one.text for one in whole if isinstance(one, Finished)}
    asked = []

    class Gateway:
        async def answer(self, _body, _caller, key):
            run, step, _attempt = key.split("/")
            asked.append(step)
            assert run == CUT
            about = {"cost_micro_usd": 12, "endpoint": "openai/s"}
            return {"choices": [{"message": {"content": said[step]}}], "compass": about}

    actor = WorkflowsActor(file, Gateway(), wall=lambda: 1_795_000_100.0)
    await actor.tend(WebhookSettings((), (), {}))
    await asyncio.gather(*actor._driving.values())
    summary = await actor.summary(CUT, ACCOUNT)
    await actor._disk.run(actor._store.close)

    done = {one.step for one in before if isinstance(one, Finished)}
    assert (summary.status, summary.end.text, summary.calls) == ("completed", "The end.", len(said))
    assert sorted(asked) == sorted(said.keys() - done)
