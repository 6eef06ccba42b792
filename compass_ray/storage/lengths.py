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
        self._db.executemany(
            "INSERT OR REPLACE INTO lengths VALUES (?, ?, ?, ?)",
            [(task, *self._lengths[task]) for task in touched],
        )
