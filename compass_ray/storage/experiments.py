"""The durable facts about experiments: their runs, and what was added up of each arm.

Part of the file of decisions, and of its transactions: a value counts with the decision it is of.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable

import orjson

from compass_ray.policy.sequential import Part, added
from compass_ray.types.experiments import (
    Arm,
    ArmName,
    Arms,
    Ending,
    Experiment,
    Figure,
    Guard,
    Run,
    Tally,
)

SCHEMA = """
    CREATE TABLE runs (
        name TEXT PRIMARY KEY, experiment BLOB NOT NULL, began REAL NOT NULL, ended REAL,
        verdict TEXT, reason TEXT
    );
    CREATE TABLE tallies (
        name TEXT NOT NULL, arm TEXT NOT NULL, figure TEXT NOT NULL, units INTEGER NOT NULL,
        count INTEGER NOT NULL, total REAL NOT NULL, squares REAL NOT NULL,
        products REAL NOT NULL, sizes REAL NOT NULL, singles REAL NOT NULL,
        PRIMARY KEY (name, arm, figure)
    ) WITHOUT ROWID;
    CREATE TABLE parts (
        name TEXT NOT NULL, unit TEXT NOT NULL, figure TEXT NOT NULL, count INTEGER NOT NULL,
        total REAL NOT NULL, PRIMARY KEY (name, unit, figure)
    ) WITHOUT ROWID
"""


class ExperimentTables:
    """The tables in `db`; whatever changes them is called inside a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def runs(self) -> list[Run]:
        """Return all runs as they stand, by name."""
        rows = self._db.execute("SELECT * FROM runs ORDER BY name").fetchall()
        arms = self._arms()
        return [
            Run(
                _experiment(told),
                began,
                ended,
                None if verdict is None else Ending(verdict, reason),
                arms.get(name, {}),
            )
            for name, told, began, ended, verdict, reason in rows
        ]

    def begin(self, experiment: Experiment, at: float) -> None:
        """Begin a run in place of the one before."""
        self._forget(experiment.name, ("tallies", "parts"))
        self._db.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, NULL, NULL, NULL)",
            (experiment.name, orjson.dumps(experiment), at),
        )

    def end(self, name: str, ending: Ending, at: float) -> None:
        """End a run; who took part need not be remembered any more."""
        self._forget(name, ("parts",))
        self._db.execute(
            "UPDATE runs SET (ended, verdict, reason) = (?, ?, ?) WHERE name = ?",
            (at, ending.verdict, ending.reason, name),
        )

    def drop(self, name: str) -> None:
        """Forget an experiment."""
        self._forget(name, ("runs", "tallies", "parts"))

    def add(self, values: Iterable[tuple[Arm, Figure, float]]) -> None:
        """Add values to the arms of runs that are under way."""
        rows = self._db.execute("SELECT name FROM runs WHERE ended IS NULL")
        running = {name for (name,) in rows}
        for arm, figure, value in values:
            if arm.experiment in running:
                self._add(arm, figure, value)

    def _add(self, arm: Arm, figure: Figure, value: float) -> None:
        tally = self._db.execute(
            "SELECT units, count, total, squares, products, sizes, singles FROM tallies"
            " WHERE name = ? AND arm = ? AND figure = ?",
            (arm.experiment, arm.name, figure),
        ).fetchone()
        part = self._db.execute(
            "SELECT count, total FROM parts WHERE name = ? AND unit = ? AND figure = ?",
            (arm.experiment, arm.unit, figure),
        ).fetchone()
        now, of_unit = added(Tally(*tally or ()), Part(*part or ()), value)
        self._db.execute(
            "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (arm.experiment, arm.name, figure, *now),
        )
        if arm.unit:
            self._db.execute(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?)",
                (arm.experiment, arm.unit, figure, *of_unit),
            )

    def _arms(self) -> dict[str, Arms]:
        arms: defaultdict[str, dict[ArmName, dict[Figure, Tally]]] = defaultdict(dict)
        for name, arm, figure, *sums in self._db.execute("SELECT * FROM tallies"):
            arms[name].setdefault(arm, {})[figure] = Tally(*sums)
        return dict(arms)

    def _forget(self, name: str, tables: Iterable[str]) -> None:
        for table in tables:
            self._db.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608  # ours


def _experiment(told: bytes) -> Experiment:
    said = orjson.loads(told)
    return Experiment(**{**said, "guard": Guard(**said["guard"])})
