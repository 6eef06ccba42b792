"""The durable facts about how long answers are, by type of task.

Part of the file of decisions, and of its transactions: an answer counts with its decision.
"""

import sqlite3
from collections.abc import Iterable, Mapping

from compass_ray.policy.lengths import Length, measured
from compass_ray.types.decisions import Outcome

SCHEMA = """
    CREATE TABLE lengths (
        task TEXT PRIMARY KEY, answers REAL NOT NULL, tokens REAL NOT NULL, ruled REAL NOT NULL
    )
"""


PAST_SCHEMA = """
    CREATE TABLE past_lengths (
        version INTEGER, task TEXT, answers REAL NOT NULL, tokens REAL NOT NULL,
        ruled REAL NOT NULL, PRIMARY KEY (version, task)
    ) WITHOUT ROWID
"""
"""What was known when a version of what is believed was made."""


class LengthTable:
    """The table in `db`; whatever changes it is called inside a transaction.

    Lengths are kept in memory as well: after a transaction that failed this one is not to be used.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lengths = {task: Length(*sums) for task, *sums in db.execute("SELECT * FROM lengths")}

    def lengths(self) -> Mapping[str, Length]:
        """Return what is known, by type of task."""
        return dict(self._lengths)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Learn from answers."""
        touched = set()
        for outcome in outcomes:
            before = self._lengths.get(outcome.task, Length())
            self._lengths[outcome.task] = measured(before, outcome)
            touched.add(outcome.task)
        self._store(touched)

    def keep(self, version: int) -> None:
        """Note what is known now under a version."""
        self._db.execute("DELETE FROM past_lengths WHERE version = ?", (version,))
        # A row without a task says that something is known of this version, be it nothing.
        rows = [(version, task, *sums) for task, sums in {"": Length(), **self._lengths}.items()]
        self._db.executemany("INSERT INTO past_lengths VALUES (?, ?, ?, ?, ?)", rows)

    def go_back(self, version: int) -> None:
        """Know what was known at a version; where that was not kept, nothing changes."""
        rows = self._db.execute(
            "SELECT task, answers, tokens, ruled FROM past_lengths WHERE version ="
            " (SELECT max(version) FROM past_lengths WHERE version <= ?)",
            (version,),
        ).fetchall()
        if rows:
            self._lengths = {task: Length(*sums) for task, *sums in rows if task}
            self._db.execute("DELETE FROM lengths")
            self._store(self._lengths)

    def forget(self, version: int) -> None:
        """Forget what was known at versions before this one."""
        self._db.execute("DELETE FROM past_lengths WHERE version < ?", (version,))

    def _store(self, tasks: Iterable[str]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO lengths VALUES (?, ?, ?, ?)",
            [(task, *self._lengths[task]) for task in tasks],
        )
