"""The durable history of workflows: what was ordered, and every event of its run, in order.

The file holds prompts and answers, and so is for its owner's eyes alone.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from compass_ray.storage import callers
from compass_ray.storage.sqlite import FENCE, SingleWriter
from compass_ray.types.usage import Money
from compass_ray.types.workflows import (
    KINDS,
    CallRecord,
    Delivery,
    Ended,
    Event,
    Order,
    Page,
    Parcel,
    RunQuery,
    Summary,
)

_SCHEMAS = (
    FENCE
    + """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL,
        ended_at REAL, told BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX by_account ON runs (account, kind, at);
    CREATE INDEX in_progress ON runs (at) WHERE ended_at IS NULL;
    CREATE INDEX by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;
    CREATE TABLE events (
        run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, told BLOB NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE standings (
        run TEXT PRIMARY KEY, account TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        at REAL NOT NULL, deadline_at REAL NOT NULL, budget INTEGER,
        status TEXT NOT NULL, cost INTEGER NOT NULL, calls INTEGER NOT NULL,
        ended_at REAL, code TEXT NOT NULL, ended BLOB
    );
    INSERT INTO standings
    SELECT id, account, kind, json_extract(CAST(told AS TEXT), '$.name'), at,
        json_extract(CAST(told AS TEXT), '$.deadline_at'),
        json_extract(CAST(told AS TEXT), '$.budget'), 'processing', 0, 0, ended_at, '', NULL
    FROM runs;
    UPDATE standings SET
        status = json_extract(CAST(events.told AS TEXT), '$.status'),
        code = json_extract(CAST(events.told AS TEXT), '$.code'), ended = events.told,
        cost = (
            SELECT COALESCE(SUM(json_extract(CAST(told AS TEXT), '$.cost')), 0) FROM events
            WHERE run = standings.run AND kind IN ('finished', 'failed')
        ),
        calls = (
            SELECT COUNT(*) FROM events WHERE run = standings.run AND kind = 'finished'
        )
    FROM events WHERE events.run = standings.run AND events.kind = 'ended';
    CREATE TABLE outbox (
        run TEXT PRIMARY KEY, url TEXT NOT NULL, delivery TEXT NOT NULL,
        attempts INTEGER NOT NULL, error TEXT NOT NULL, since REAL, due_at REAL
    );
    CREATE INDEX due ON outbox (due_at) WHERE due_at IS NOT NULL;
    CREATE INDEX latest ON standings (account, kind, at, run);
    CREATE INDEX latest_of_status ON standings (account, kind, status, at, run);
    CREATE INDEX latest_of_name ON standings (account, kind, name, at, run);
    CREATE INDEX latest_ended ON standings (kind, ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX latest_ended_of_account ON standings (account, kind, ended_at)
    WHERE ended_at IS NOT NULL;
    CREATE TABLE calls (
        run TEXT NOT NULL, path TEXT NOT NULL, attempt INTEGER NOT NULL, step TEXT NOT NULL,
        agent TEXT, endpoint TEXT, failed INTEGER NOT NULL, code TEXT NOT NULL,
        cost INTEGER NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (run, path, attempt)
    ) WITHOUT ROWID;
    DROP INDEX by_account;
    """,
)
_STANDING = """
    run, kind, name, account, at, deadline_at, budget, status, cost, calls, ended,
    delivery, attempts, error
    FROM standings LEFT JOIN outbox USING (run)
"""
_ENDED = 10
"""The place of `ended` in it."""
_MOST_BYTES = 16 * 2**20
"""Of results on one page; what is beyond is on the next."""
_BATCH = 200
_EVENTS = {kind: event for event, kind in KINDS.items()}


class Entry(NamedTuple):
    """Events of a run, the first of that number; the last says what a run that is over came to."""

    run: str
    first: int
    events: Sequence[Event]
    cost: Money = 0
    calls: int = 0
    records: Sequence[CallRecord] = ()


class WorkflowStore:
    """One open file; to be used by one thread at a time.

    Raises:
        sqlite3.DatabaseError: the file is no such store, or was written by a newer version.
    """

    def __init__(self, file: Path) -> None:
        self._file = SingleWriter(file, _SCHEMAS)
        self._db = self._file.db

    def commit(self, orders: Iterable[Order], entries: Iterable[Entry]) -> None:
        """Store all of it or nothing; on disk when this returns. An order is stored once.

        Raises:
            Superseded
            sqlite3.IntegrityError: an event of that number is there.
        """
        with self._file.transaction() as db:
            for order in orders:
                db.execute("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, NULL, ?)", _row(order))
                db.execute(
                    "INSERT OR IGNORE INTO standings VALUES "
                    "(?, ?, ?, ?, ?, ?, ?, 'processing', 0, 0, NULL, '', NULL)",
                    _standing(order),
                )
                if order.webhook is not None:
                    db.execute(
                        "INSERT OR IGNORE INTO outbox VALUES (?, ?, 'pending', 0, '', NULL, NULL)",
                        (order.id, order.webhook),
                    )
            for entry in entries:
                rows = [
                    (entry.run, number, KINDS[type(event)], orjson.dumps(event._asdict()))
                    for number, event in enumerate(entry.events, entry.first)
                ]
                db.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
                if isinstance(end := entry.events[-1], Ended):
                    _end(db, entry, end)

    def order(self, run: str) -> Order | None:
        """Return what was ordered; None where the run is unknown, or forgotten."""
        row = self._db.execute("SELECT told FROM runs WHERE id = ?", (run,)).fetchone()
        return None if row is None else _order(row[0])

    def events(self, run: str, after: int = 0) -> list[Event]:
        """Return the events of a run from that number on, in order."""
        rows = self._db.execute(
            "SELECT kind, told FROM events WHERE run = ? AND number >= ? ORDER BY number",
            (run, after),
        )
        return [_event(kind, told) for kind, told in rows]

    def unfinished(self) -> list[str]:
        """Return the runs that are not over, the oldest first."""
        rows = self._db.execute("SELECT id FROM runs WHERE ended_at IS NULL ORDER BY at")
        return [run for (run,) in rows]

    def summary(self, run: str) -> Summary | None:
        """Return where a run stood when it began or ended; None where it is unknown."""
        row = self._db.execute(f"SELECT {_STANDING} WHERE run = ?", (run,)).fetchone()
        return None if row is None else _summary(row)

    def listed(self, query: RunQuery) -> Page | None:
        """Return a page of runs, the latest first; None where `after` is none of theirs.

        One that is not over is as it was when it began.
        """
        equal = {"account": query.account, "kind": query.kind}
        equal |= {} if query.status is None else {"status": query.status}
        equal |= {} if query.name is None else {"name": query.name}
        where = [f"{column} = ?" for column in equal]
        values: list[Any] = [*equal.values()]
        for bound, value in (("at > ?", query.created_after), ("at < ?", query.created_before)):
            if value is not None:
                where.append(bound)
                values.append(value)
        if query.after is not None:
            last = self._db.execute(
                "SELECT at, run FROM standings WHERE run = ? AND account = ? AND kind = ?",
                (query.after, query.account, query.kind),
            ).fetchone()
            if last is None:
                return None
            where.append("(at, run) < (?, ?)")
            values += last
        rows = self._db.execute(
            f"SELECT {_STANDING} WHERE {' AND '.join(where)} ORDER BY at DESC, run DESC",
            values,
        )
        runs: list[Summary] = []
        size = 0
        for row in rows:
            size += len(row[_ENDED] or b"")
            if len(runs) == query.limit or (runs and size > _MOST_BYTES):
                rows.close()
                return Page(runs, has_more=True)
            runs.append(_summary(row))
        return Page(runs, has_more=False)

    def due(self, unix: float, most: int) -> list[Parcel]:
        """Return the ends that webhooks are to be told of by then, the longest due first."""
        rows = self._db.execute(
            f"SELECT url, since, {_STANDING} WHERE due_at <= ? ORDER BY due_at LIMIT ?",
            (unix, most),
        )
        parcels = []
        for url, since, *row in rows:
            one = _summary(row)
            attempts = 0 if one.webhook is None else one.webhook.attempts
            parcels.append(Parcel(one, url, attempts, since))
        return parcels

    def settle(self, run: str, delivery: Delivery, due_at: float | None) -> None:
        """Store what came of telling a webhook, and when it is told again; None: never.

        Raises:
            Superseded
        """
        with self._file.transaction() as db:
            db.execute(
                "UPDATE outbox SET delivery = ?, attempts = ?, error = ?, due_at = ? WHERE run = ?",
                (*delivery, due_at, run),
            )

    def forget_older(self, unix: float) -> int:
        """Forget some of the runs that ended before `unix`; return how many."""
        rows = self._db.execute(
            "SELECT id FROM runs WHERE ended_at < ? ORDER BY ended_at LIMIT ?", (unix, _BATCH)
        ).fetchall()
        if rows:
            with self._file.transaction() as db:
                db.executemany("DELETE FROM events WHERE run = ?", rows)
                db.executemany("DELETE FROM standings WHERE run = ?", rows)
                db.executemany("DELETE FROM outbox WHERE run = ?", rows)
                db.executemany("DELETE FROM calls WHERE run = ?", rows)
                db.executemany("DELETE FROM runs WHERE id = ?", rows)
        return len(rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _end(db: sqlite3.Connection, entry: Entry, end: Ended) -> None:
    """Store that a run is over, what it came to, and that its webhook is to be told."""
    run, told = entry.run, orjson.dumps(end._asdict())
    db.execute("UPDATE runs SET ended_at = ? WHERE id = ?", (end.at, run))
    db.execute(
        "UPDATE standings SET status = ?, cost = ?, calls = ?, ended_at = ?, code = ?, ended = ? "
        "WHERE run = ?",
        (end.status, entry.cost, entry.calls, end.at, end.code, told, run),
    )
    rows = [(run, *record) for record in entry.records]
    db.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute("UPDATE outbox SET since = ?, due_at = ? WHERE run = ?", (end.at, end.at, run))


def _row(order: Order) -> tuple[Any, ...]:
    told = asdict(order) | {"caller": callers.as_json(order.caller)}
    return order.id, order.caller.account, order.kind, order.created_at, orjson.dumps(told)


def _standing(order: Order) -> tuple[Any, ...]:
    return (
        order.id,
        order.caller.account,
        order.kind,
        order.name,
        order.created_at,
        order.deadline_at,
        order.budget,
    )


def _summary(row: Sequence[Any]) -> Summary:
    *facts, ended, status, attempts, error = row
    end = None if ended is None else _event("ended", ended)
    webhook = None if status is None else Delivery(status, attempts, error)
    return Summary._make([*facts, end, webhook])


def _order(told: bytes) -> Order:
    fields = orjson.loads(told)
    alerts = tuple(fields.pop("alerts", ()))
    caller = callers.from_json(fields.pop("caller"))
    return Order(**fields, alerts=alerts, caller=caller)


def _event(kind: str, told: bytes) -> Event:
    fields = orjson.loads(told)
    if "alternatives" in fields:
        fields["alternatives"] = tuple(fields["alternatives"])
    return _EVENTS[kind](**fields)
