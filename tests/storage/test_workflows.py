"""Histories on disk: whole, in order, for one writer, and no older than they should be."""

import sqlite3
import stat

import pytest

from compass_ray.storage.sqlite import Superseded
from compass_ray.storage.workflows import WorkflowStore
from compass_ray.types.accounts import Caller
from compass_ray.types.workflows import Ended, Failed, Finished, Order, Started

HISTORY = [
    Started("plan", 1, None, 9.5, 1.0),
    Failed("plan", 1, "busy", "é日", True, 3, 2.0),  # noqa: FBT003
    Started("plan", 2, 70, 9.5, 2.0),
    Finished("plan", 2, "two\nlines", 7, "p/m", 3.0),
    Ended("completed", 4.0, "two", 0.5, ("one", "three")),
]


def order(run="task_1", account="acme", at=1.0, models=frozenset({"a", "b"})):
    caller = Caller("alice", account, models, metrics=True)
    return Order(run, "task", "n", caller, {"plan": {"prompt": "hi"}}, "it", 70, at, at + 9)


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
    store.commit([order(models=models)], [("task_1", 0, HISTORY[:2]), ("task_1", 2, HISTORY[2:])])
    store.close()

    again = WorkflowStore(file)

    assert again.order("task_1") == order(models=models)
    assert again.events("task_1") == HISTORY
    assert again.unfinished() == []
    again.close()


def test_an_event_of_a_number_that_is_there_is_refused_with_all_that_came_with_it(store):
    store.commit([order()], [("task_1", 0, HISTORY[:1])])

    with pytest.raises(sqlite3.IntegrityError):
        store.commit([order("task_2")], [("task_1", 0, HISTORY[1:])])

    assert store.events("task_1") == HISTORY[:1]
    assert store.order("task_2") is None


def test_an_order_is_stored_once(store):
    store.commit([order()], [])
    store.commit([order(at=5.0)], [])

    assert store.order("task_1").created_at == 1.0


def test_what_is_not_over_is_listed_the_oldest_first(store):
    store.commit([order("task_2", at=2.0), order("task_1"), order("task_3")], [])
    store.commit([], [("task_3", 0, HISTORY)])

    assert store.unfinished() == ["task_1", "task_2"]


def test_an_account_sees_its_own_of_that_kind_the_latest_first(store):
    store.commit([order(f"task_{n}", at=float(n)) for n in range(4)], [])
    store.commit([order("task_x", account="other")], [])

    assert store.latest("acme", "task", 2) == ["task_3", "task_2"]
    assert store.latest("acme", "workflow", 2) == []


def test_only_what_ended_long_ago_is_forgotten(store):
    store.commit([order("task_1"), order("task_2")], [("task_1", 0, HISTORY)])

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
