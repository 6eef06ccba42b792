"""What each call of a run that is over came to."""

from compass_ray.policy.plans import read_plan
from compass_ray.policy.run_calls import call_records
from compass_ray.types.workflows import (
    BudgetReached,
    CallRecord,
    Ended,
    Failed,
    Finished,
    Started,
)

SAY = {"prompt": "x"}
PLAN = {
    "agents": {"critic": {"tier": 1}, "writer": {}},
    "plan": {
        "chain": [
            SAY | {"id": "draft", "agent": "writer"},
            {"debate": [SAY | {"agent": "critic"}, SAY], "rounds": 2, "judge": SAY},
            {"delegate": SAY, "worker": SAY | {"agent": "writer"}, "combine": SAY},
        ]
    },
}


def test_calls_are_told_by_their_name_or_their_place_in_the_plan_with_who_answered():
    history = [
        Started("plan.chain[0]", 1, None, 9.0, 1.0),
        Failed("plan.chain[0]", 1, "busy", "wait", True, 3, 1.5),  # noqa: FBT003
        Started("plan.chain[0]", 2, None, 9.0, 2.0),
        Finished("plan.chain[0]", 2, "a", 7, "p/m", 4.0),
        BudgetReached(0.5, 10, 4.0),
        Started("plan.chain[1].debate[0]@2", 1, None, 9.0, 4.0),
        Started("plan.chain[2].worker[3]", 1, None, 9.0, 4.0),
        Finished("plan.chain[2].worker[3]", 1, "b", 5, "p/n", 5.0),
        Finished("plan.chain[1].debate[0]@2", 1, "c", 1, "p/m", 6.0),
        Ended("completed", 7.0),
    ]

    records = call_records(read_plan(PLAN), history)

    first, second, worker, speaker = records
    assert first == CallRecord(
        path="plan.chain[0]",
        attempt=1,
        step="draft",
        agent="writer",
        endpoint=None,
        failed=True,
        code="busy",
        cost=3,
        seconds=0.5,
    )
    assert (second.attempt, second.endpoint, second.seconds) == (2, "p/m", 2.0)
    assert (worker.step, worker.agent, worker.path) == (
        "plan.chain[2].worker",
        "writer",
        "plan.chain[2].worker[3]",
    )
    assert (speaker.step, speaker.agent, speaker.seconds) == (
        "plan.chain[1].debate[0]",
        "critic",
        2.0,
    )


def test_without_its_plan_a_call_has_its_place_alone():
    history = [Started("plan", 1, None, 9.0, 1.0), Finished("plan", 1, "a", 7, "p/m", 4.0)]

    (record,) = call_records(None, history)

    assert (record.step, record.agent, record.cost) == ("plan", None, 7)
