"""The durable facts about drift: what streams of values are usually like, and how they shifted.

Part of the file of decisions, and of its transactions: a value counts with the decision it is of.
"""

import sqlite3
from collections.abc import Iterable

from compass_ray.policy.page_hinkley import observed
from compass_ray.types.shifts import Level, Shift, Stream

SCHEMA = """
    CREATE TABLE streams (
        task TEXT NOT NULL, endpoint TEXT NOT NULL, trait TEXT NOT NULL, count INTEGER NOT NULL,
        mean REAL NOT NULL, spread REAL NOT NULL, rise REAL NOT NULL, risen INTEGER NOT NULL,
        above REAL NOT NULL, fall REAL NOT NULL, fallen INTEGER NOT NULL, below REAL NOT NULL,
        PRIMARY KEY (task, endpoint, trait)
    ) WITHOUT ROWID;
    CREATE TABLE shifts (
        task TEXT NOT NULL, endpoint TEXT NOT NULL, trait TEXT NOT NULL, was REAL NOT NULL,
        now REAL NOT NULL, count INTEGER NOT NULL, at REAL NOT NULL,
        delivered INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (task, endpoint, trait, at)
    )
"""
_MOST_SHIFTS = 10_000


class ShiftTables:
    """The tables in `db`; whatever changes them is called inside a transaction.

    Levels are kept in memory as well: after a transaction that failed this one is not to be used.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._levels = {
            Stream(*row[:3]): Level(*row[3:]) for row in db.execute("SELECT * FROM streams")
        }

    def add(self, values: Iterable[tuple[Stream, float]], at: float) -> list[Shift]:
        """Add values to their streams, and return what has shifted."""
        touched, shifts = set(), []
        for stream, value in values:
            level = self._levels.get(stream, Level())
            self._levels[stream], found = observed(level, stream.trait, value)
            touched.add(stream)
            if found is not None:
                shifts.append(Shift(stream, *found, at))
        self._db.executemany(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*stream, *self._levels[stream]) for stream in touched],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO shifts VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            [(*one.stream, one.was, one.now, one.values, one.at) for one in shifts],
        )
        if shifts:
            self._db.execute(
                "DELETE FROM shifts WHERE rowid <= (SELECT max(rowid) FROM shifts) - ?",
                (_MOST_SHIFTS,),
            )
        return shifts

    def shifts(self, *, undelivered: bool = False) -> list[Shift]:
        """Return all shifts, or those that nobody was told of yet, the oldest first."""
        rows = self._db.execute(
            "SELECT task, endpoint, trait, was, now, count, at FROM shifts"
            " WHERE delivered = 0 OR NOT ? ORDER BY rowid",
            (undelivered,),
        )
        return [Shift(Stream(*row[:3]), *row[3:]) for row in rows]

    def mark_delivered(self, shift: Shift) -> None:
        """Note that somebody was told."""
        self._db.execute(
            "UPDATE shifts SET delivered = 1 WHERE (task, endpoint, trait, at) = (?, ?, ?, ?)",
            (*shift.stream, shift.at),
        )
