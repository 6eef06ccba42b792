"""Where a run stands, in the words of callers."""

from compass_ray.policy.standing import as_json, totals
from compass_ray.types.accounts import Caller
from compass_ray.types.workflows import Ended, Failed, Finished, Order, Started, summary_of

ORDER = Order("task_1", "task", "n", Caller("alice", "acme"), {}, "it", 70, 1.0, 9.0)
HISTORY = [
    Started("plan", 1, None, 9.5, 1.0),
    Failed("plan", 1, "busy", "wait", True, 3, 2.0),  # noqa: FBT003
    Started("plan", 2, 70, 9.5, 2.0),
    Finished("plan", 2, "two", 7, "p/m", 3.0),
    Ended("completed", 4.0, "two", 0.5, ("one",)),
]


def test_what_calls_have_cost_is_summed_also_of_those_that_failed():
    assert totals(HISTORY) == (10, 1)
    assert totals([]) == (0, 0)


def test_what_is_left_of_the_budget_is_told_with_the_end():
    told = as_json(summary_of(ORDER, 10, 1, HISTORY[-1]))

    assert (told["task_id"], told["status"], told["ended_at"]) == ("task_1", "completed", 4.0)
    assert (told["cost_micro_usd"], told["remaining_micro_usd"]) == (10, 60)
    assert (told["result"], told["confidence"], told["alternatives"]) == ("two", 0.5, ["one"])


def test_a_failed_run_tells_which_step_and_why():
    end = Ended("failed", 4.0, step="plan.chain[1]", code="busy", message="wait")

    told = as_json(summary_of(ORDER, 0, 0, end))

    assert told["error"] == {"step": "plan.chain[1]", "code": "busy", "message": "wait"}
    assert told["result"] is None
