"""What runs that are over came to: as a count of each by hand finds it, and by an index."""

from collections import Counter
from contextlib import closing
from math import ceil
from random import Random

import pytest

from compass_ray.storage import run_analytics
from compass_ray.storage.run_analytics import RunAnalytics
from compass_ray.storage.workflows import Entry, WorkflowStore
from compass_ray.types.accounts import Caller
from compass_ray.types.run_analytics import AnalysisQuery, Spread
from compass_ray.types.workflows import CallRecord, Ended, Order

ALL = AnalysisQuery("name", 0.0, 1e9)


def made(chance, number):
    """A run of a few calls that ended somehow, and what is stored of it."""
    account, name = f"a{number % 3}", f"n{number % 5}"
    kind = "task" if number % 10 == 9 else "workflow"
    run, at = f"run_{number}", float(number)
    order = Order(run, kind, name, Caller("k", account), {}, "", None, at, 1e9)
    records = []
    for place in range(chance.randrange(4)):
        failed = chance.random() < 0.3
        records.append(
            CallRecord(
                path=f"plan.chain[{place}]",
                attempt=1,
                step=f"s{place}",
                agent=chance.choice((None, "writer", "critic")),
                endpoint=None if failed else chance.choice(("p/m", "p/n")),
                failed=failed,
                code=chance.choice(("busy", "broken")) if failed else "",
                cost=chance.randrange(1_000),
                seconds=chance.random() * 9,
            )
        )
    status = chance.choice(("completed", "failed", "cancelled"))
    end = Ended(status, at + chance.random() * 99, code="busy" if status == "failed" else "")
    cost, calls = sum(one.cost for one in records), sum(not one.failed for one in records)
    return order, Entry(run, 0, [end], cost, calls, records)


@pytest.fixture
def stored(tmp_path):
    """A file of two hundred runs that are over and one that is not; what is in it."""
    chance = Random(7)
    runs = [made(chance, number) for number in range(200)]
    with closing(WorkflowStore(tmp_path / "w.db")) as store:
        store.commit([order for order, _ in runs], [entry for _, entry in runs])
        store.commit([Order("run_x", "workflow", "n1", Caller("k", "a1"), {}, "", None, 5, 9)], [])
        with closing(RunAnalytics(tmp_path / "w.db")) as analytics:
            yield analytics, runs


def chosen(runs, query):
    for order, entry in runs:
        if (
            order.kind == "workflow"
            and query.since <= entry.events[0].at < query.until
            and query.account in {None, order.caller.account}
            and query.name in {None, order.name}
        ):
            yield order, entry


def rows_of(runs, query):
    """What is counted by hand: group, run, calls, cancelled, code or None, cost, seconds."""
    for order, (_, _, (end,), cost, calls, records) in chosen(runs, query):
        if query.by == "name":
            code = end.code if end.status == "failed" else None
            seconds = end.at - order.created_at
            yield order.name, order.id, calls, end.status == "cancelled", code, cost, seconds
            continue
        for one in records:
            what = {"agent": one.agent, "step": one.step, "model": one.endpoint}[query.by]
            code = one.code if one.failed else None
            yield what, order.id, 1, False, code, one.cost, one.seconds


def spread(values):
    ranked = sorted(values)
    p50, p95 = (ranked[ceil(len(ranked) * share / 100) - 1] for share in (50, 95))
    return pytest.approx(Spread(sum(values), sum(values) / len(values), p50, p95))


@pytest.mark.parametrize("by", ["name", "agent", "step", "model"])
@pytest.mark.parametrize(
    "narrowed", [{}, {"account": "a1"}, {"name": "n2"}, {"since": 40.0, "until": 120.0}]
)
def test_each_group_is_what_counting_by_hand_finds(stored, by, narrowed):
    analytics, runs = stored
    query = ALL._replace(by=by, **narrowed)

    found = analytics.analysis(query)

    rows = list(rows_of(runs, query))
    assert not found.truncated
    assert {one.what for one in found.groups} == {row[0] for row in rows}
    assert [one.cost.sum for one in found.groups] == sorted(
        (one.cost.sum for one in found.groups), reverse=True
    )
    for one in found.groups:
        of = [row for row in rows if row[0] == one.what]
        assert one.runs == len({row[1] for row in of})
        assert one.calls == sum(row[2] for row in of)
        assert one.cancelled == sum(row[3] for row in of)
        assert one.failures == Counter(row[4] for row in of if row[4] is not None)
        assert one.cost == spread([row[5] for row in of])
        assert one.seconds == spread([row[6] for row in of])


def test_more_than_is_looked_at_is_said_and_the_latest_count(stored, monkeypatch):
    analytics, runs = stored
    monkeypatch.setattr(run_analytics, "_MOST_ROWS", 10)

    found = analytics.analysis(ALL)

    assert found.truncated
    assert sum(one.runs for one in found.groups) == 10
    last = sorted(entry.events[0].at for order, entry in runs if order.kind == "workflow")[-10:]
    since = analytics.analysis(ALL._replace(since=last[0]))
    assert since.groups == found.groups


@pytest.mark.parametrize("by", ["name", "model"])
@pytest.mark.parametrize("account", [None, "a1"])
def test_no_history_is_read_and_a_window_is_found_by_its_index(stored, by, account):
    analytics, _ = stored
    queries = []
    analytics._db.set_trace_callback(queries.append)

    analytics.analysis(ALL._replace(by=by, account=account))

    analytics._db.set_trace_callback(None)
    for query in queries:
        plan = " ".join(row[-1] for row in analytics._db.execute("EXPLAIN QUERY PLAN " + query))
        assert "standings USING INDEX latest_ended" in plan
        assert "events" not in plan


def test_a_question_writes_nothing_and_waits_for_no_writer(stored, tmp_path):
    analytics, _ = stored
    with closing(WorkflowStore(tmp_path / "w.db")) as writer, writer._file.transaction():
        assert analytics.analysis(ALL).groups


def test_nothing_is_told_of_nothing(stored):
    analytics, _ = stored

    assert analytics.analysis(ALL._replace(since=1e8)) == ([], False)
