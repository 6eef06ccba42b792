"""The durable history of workflows: what was ordered, and every event of its run, in order.

The file holds prompts and answers, and so is for its owner's eyes alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from compass_ray.storage import callers
from compass_ray.storage.sqlite import FENCE, SingleWriter
from compass_ray.types.workflows import Ended, Event, Failed, Finished, Kind, Order, Started

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
)
_BATCH = 200
_EVENTS: dict[str, type[Event]] = {
    "started": Started,
    "finished": Finished,
    "failed": Failed,
    "ended": Ended,
}
_KINDS = {cls: kind for kind, cls in _EVENTS.items()}

Entry = tuple[str, int, Sequence[Event]]
"""A run, the number of the first event, and the events."""


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
            db.executemany(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, NULL, ?)", map(_row, orders)
            )
            for run, first, events in entries:
                rows = [
                    (run, number, _KINDS[type(event)], orjson.dumps(event._asdict()))
                    for number, event in enumerate(events, first)
                ]
                db.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
                if isinstance(events[-1], Ended):
                    db.execute("UPDATE runs SET ended_at = ? WHERE id = ?", (events[-1].at, run))

    def order(self, run: str) -> Order | None:
        """Return what was ordered; None where the run is unknown, or forgotten."""
        row = self._db.execute("SELECT told FROM runs WHERE id = ?", (run,)).fetchone()
        return None if row is None else _order(row[0])

    def events(self, run: str) -> list[Event]:
        """Return all events of a run, in order."""
        rows = self._db.execute(
            "SELECT kind, told FROM events WHERE run = ? ORDER BY number", (run,)
        )
        return [_event(kind, told) for kind, told in rows]

    def unfinished(self) -> list[str]:
        """Return the runs that are not over, the oldest first."""
        rows = self._db.execute("SELECT id FROM runs WHERE ended_at IS NULL ORDER BY at")
        return [run for (run,) in rows]

    def latest(self, account: str, kind: Kind, most: int) -> list[str]:
        """Return an account's runs, the latest first."""
        rows = self._db.execute(
            "SELECT id FROM runs WHERE account = ? AND kind = ? ORDER BY at DESC LIMIT ?",
            (account, kind, most),
        )
        return [run for (run,) in rows]

    def forget_older(self, unix: float) -> int:
        """Forget some of the runs that ended before `unix`; return how many."""
        rows = self._db.execute(
            "SELECT id FROM runs WHERE ended_at < ? ORDER BY ended_at LIMIT ?", (unix, _BATCH)
        ).fetchall()
        if rows:
            with self._file.transaction() as db:
                db.executemany("DELETE FROM events WHERE run = ?", rows)
                db.executemany("DELETE FROM runs WHERE id = ?", rows)
        return len(rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _row(order: Order) -> tuple[Any, ...]:
    told = asdict(order) | {"caller": callers.as_json(order.caller)}
    return order.id, order.caller.account, order.kind, order.created_at, orjson.dumps(told)


def _order(told: bytes) -> Order:
    fields = orjson.loads(told)
    return Order(**{**fields, "caller": callers.from_json(fields["caller"])})


def _event(kind: str, told: bytes) -> Event:
    fields = orjson.loads(told)
    if "alternatives" in fields:
        fields["alternatives"] = tuple(fields["alternatives"])
    return _EVENTS[kind](**fields)
