"""Histories on disk: whole, in order, for one writer, and no older than they should be."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from compass_ray.policy.standing import totals
from compass_ray.storage import workflows
from compass_ray.storage.sqlite import Superseded
from compass_ray.storage.workflows import Entry, WorkflowStore
from compass_ray.types.accounts import Caller
from compass_ray.types.workflows import (
    BudgetReached,
    Ended,
    Failed,
    Finished,
    Order,
    RunQuery,
    Started,
    summary_of,
)

FIRST = Path(__file__).parents[1] / "actors" / "histories" / "2026-11-24.sql"

HISTORY = [
    Started("plan", 1, None, 9.5, 1.0),
    Failed("plan", 1, "busy", "é日", True, 3, 2.0),  # noqa: FBT003
    Started("plan", 2, 70, 9.5, 2.0),
    Finished("plan", 2, "two\nlines", 7, "p/m", 3.0),
    BudgetReached(0.1, 10, 3.0),
    Ended("completed", 4.0, "two", 0.5, ("one", "three")),
]


def order(run="task_1", account="acme", at=1.0, models=frozenset({"a", "b"}), name="n"):
    caller = Caller("alice", account, models, metrics=True)
    return Order(
        run, "task", name, caller, {"plan": {"prompt": "hi"}}, "it", 70, at, at + 9, alerts=(10,)
    )


def listed(store, kind="task", limit=9, **named):
    page = store.listed(RunQuery("acme", kind, limit, **named))
    return [one.id for one in page.runs], page.has_more


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "w.db"


@pytest.fixture
def store(file):
    store = WorkflowStore(file)
    yield store
    store.close()


@pytest.mark.parametrize("models", [None, frozenset(), frozenset({"a", "b"})])
def test_what_was_stored_is_there_after_a_reopening(store, file, models):
    store.commit(
        [order(models=models)], [Entry("task_1", 0, HISTORY[:2]), Entry("task_1", 2, HISTORY[2:])]
    )
    store.close()

    again = WorkflowStore(file)

    assert again.order("task_1") == order(models=models)
    assert again.events("task_1") == HISTORY
    assert again.unfinished() == []
    again.close()


def test_an_event_of_a_number_that_is_there_is_refused_with_all_that_came_with_it(store):
    store.commit([order()], [Entry("task_1", 0, HISTORY[:1])])

    with pytest.raises(sqlite3.IntegrityError):
        store.commit([order("task_2")], [Entry("task_1", 0, HISTORY[1:])])

    assert store.events("task_1") == HISTORY[:1]
    assert store.order("task_2") is None


def test_an_order_is_stored_once(store):
    store.commit([order()], [])
    store.commit([order(at=5.0)], [])

    assert store.order("task_1").created_at == 1.0


def test_what_is_not_over_is_listed_the_oldest_first(store):
    store.commit([order("task_2", at=2.0), order("task_1"), order("task_3")], [])
    store.commit([], [Entry("task_3", 0, HISTORY)])

    assert store.unfinished() == ["task_1", "task_2"]


def test_an_account_sees_its_own_of_that_kind_the_latest_first(store):
    store.commit([order(f"task_{n}", at=float(n)) for n in range(4)], [])
    store.commit([order("task_x", account="other")], [])

    assert listed(store, limit=2) == (["task_3", "task_2"], True)
    assert listed(store, kind="workflow") == ([], False)


def test_pages_follow_each_other_also_where_runs_began_at_the_same_time(store):
    store.commit([order(f"task_{n}", at=float(n // 3)) for n in range(10)], [])

    pages, after = [], None
    while True:
        page, more = listed(store, limit=4, after=after)
        pages += page
        after = page[-1]
        if not more:
            break

    assert pages == [f"task_{n}" for n in range(9, -1, -1)]


def test_a_page_after_a_run_that_is_not_the_account_s_is_none(store):
    store.commit([order("task_1"), order("task_x", account="other")], [])

    assert store.listed(RunQuery("acme", "task", 9, after="task_x")) is None
    assert store.listed(RunQuery("acme", "task", 9, after="task_y")) is None


def test_a_list_is_of_one_status_one_name_and_one_time_where_that_is_asked(store):
    store.commit([order(f"task_{n}", at=float(n), name=f"n{n % 2}") for n in range(6)], [])
    store.commit([], [Entry("task_2", 0, HISTORY, 10, 1)])

    assert listed(store, status="completed") == (["task_2"], False)
    assert listed(store, status="processing", limit=2) == (["task_5", "task_4"], True)
    assert listed(store, name="n1", created_after=1.0) == (["task_5", "task_3"], False)
    assert listed(store, created_after=0.0, created_before=2.0) == (["task_1"], False)


def test_a_list_reads_an_index_and_no_event(store):
    queries = []
    store._db.set_trace_callback(queries.append)

    store.listed(RunQuery("acme", "task", 9, "completed", "n", None, 1.0, 2.0))

    (query,) = queries
    store._db.set_trace_callback(None)
    plan = " ".join(row[-1] for row in store._db.execute("EXPLAIN QUERY PLAN " + query))
    assert "SEARCH standings USING INDEX latest" in plan
    assert "TEMP B-TREE" not in plan


def test_a_page_of_long_results_ends_early(store, monkeypatch):
    monkeypatch.setattr(workflows, "_MOST_BYTES", 150)
    store.commit([order(f"task_{n}", at=float(n)) for n in range(3)], [])
    store.commit([], [Entry(f"task_{n}", 0, HISTORY) for n in range(3)])

    assert listed(store) == (["task_2"], True)


def test_a_summary_is_of_the_beginning_and_then_of_the_end(store):
    store.commit([order()], [Entry("task_1", 0, HISTORY[:-1])])
    begun = store.summary("task_1")
    store.commit([], [Entry("task_1", 5, HISTORY[-1:], 10, 1)])

    assert (begun.status, begun.end) == ("processing", None)
    assert store.summary("task_1") == summary_of(order(), 10, 1, HISTORY[-1])
    assert store.summary("task_2") is None


def test_a_file_of_the_first_version_knows_where_its_runs_stand(tmp_path):
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        db.executescript(FIRST.read_text())

    with closing(WorkflowStore(tmp_path / "old.db")) as store:
        whole, cut = store.summary("run_whole"), store.summary("run_cut")
        events = store.events("run_whole")

    assert (whole.cost, whole.calls) == totals(events)
    assert (whole.end, whole.budget, whole.account) == (events[-1], 1_000_000, "acme")
    assert (cut.status, cut.created_at) == ("processing", 1_795_000_000.0)


def test_only_what_ended_long_ago_is_forgotten(store):
    store.commit([order("task_1"), order("task_2")], [Entry("task_1", 0, HISTORY)])

    kept, gone = store.forget_older(4.0), store.forget_older(4.1)

    assert (kept, gone) == (0, 1)
    assert store.order("task_1") is None
    assert store.events("task_1") == []
    assert store.order("task_2") is not None


def test_a_second_writer_takes_over(store, file):
    WorkflowStore(file).close()

    with pytest.raises(Superseded):
        store.commit([order()], [])


def test_the_file_is_its_owner_s_alone(store, file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
