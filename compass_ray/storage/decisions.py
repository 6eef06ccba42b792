"""The durable facts about decisions: what was decided, how it was judged, what that has taught.

Of a prompt the file holds no word but the rules' own, and numbers that describe it; it is for its
owner's eyes alone.
"""

import io
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from compass_ray.policy.experiment import values
from compass_ray.policy.learn import Posterior
from compass_ray.policy.lengths import Length
from compass_ray.policy.lessons import Answer, Lesson, State, Taken, replay
from compass_ray.policy.page_hinkley import traits
from compass_ray.storage.experiments import SCHEMA as EXPERIMENTS
from compass_ray.storage.experiments import ExperimentTables
from compass_ray.storage.lengths import PAST_SCHEMA as PAST_LENGTHS
from compass_ray.storage.lengths import SCHEMA as LENGTHS
from compass_ray.storage.lengths import LengthTable
from compass_ray.storage.shifts import SCHEMA as SHIFTS
from compass_ray.storage.shifts import ShiftTables
from compass_ray.storage.sqlite import FENCE, SingleWriter
from compass_ray.types.decisions import KeptDecision, LearnerSettings, Note
from compass_ray.types.errors import ConfigError
from compass_ray.types.experiments import Arm, Run, RunChanges
from compass_ray.types.routing import Tier
from compass_ray.types.shifts import Shift, Stream

_SCHEMAS = (
    FENCE
    + """
    CREATE TABLE decisions (
        place INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
        at REAL NOT NULL, tier INTEGER NOT NULL, expected REAL, basis TEXT NOT NULL,
        features BLOB NOT NULL, told BLOB NOT NULL, scores BLOB NOT NULL,
        score REAL, judged_at REAL, learned_in INTEGER
    );
    CREATE TABLE lessons (
        version INTEGER PRIMARY KEY, tier INTEGER NOT NULL, surplus REAL NOT NULL,
        features BLOB NOT NULL
    );
    CREATE TABLE snapshots (version INTEGER PRIMARY KEY, state BLOB NOT NULL);
    CREATE TABLE settings (
        only INTEGER PRIMARY KEY CHECK (only = 1), keep INTEGER NOT NULL, mode TEXT NOT NULL,
        basis TEXT NOT NULL, size INTEGER NOT NULL, frozen INTEGER NOT NULL
    );
    """,
    """
    ALTER TABLE decisions ADD COLUMN experiment TEXT;
    ALTER TABLE decisions ADD COLUMN arm TEXT;
    ALTER TABLE decisions ADD COLUMN unit TEXT;
    ALTER TABLE decisions ADD COLUMN task TEXT NOT NULL DEFAULT '';
    ALTER TABLE decisions ADD COLUMN endpoint TEXT NOT NULL DEFAULT '';
    ALTER TABLE settings ADD COLUMN drift TEXT NOT NULL DEFAULT 'off';
    ALTER TABLE settings ADD COLUMN webhook TEXT;
    """
    + EXPERIMENTS
    + ";"
    + SHIFTS
    + ";"
    + LENGTHS,
    PAST_LENGTHS,
)
_SNAPSHOT_EVERY = 200
"""Lessons between two snapshots of some 80 kB: so many are replayed at most."""
_MOST_LESSONS = 100_000
"""Versions to which one can go back."""


class DecisionStore:
    """One open file; to be used by one thread at a time.

    Raises:
        sqlite3.DatabaseError: the file is no such store, or was written by a newer version.
    """

    def __init__(self, file: Path) -> None:
        self._file = SingleWriter(file, _SCHEMAS)
        self._db = self._file.db
        self._experiments = ExperimentTables(self._db)
        self._shifts = ShiftTables(self._db)
        self._lengths = LengthTable(self._db)

    def settings(self) -> tuple[LearnerSettings, bool]:
        """Return what was last configured, and whether an operator has frozen learning."""
        row = self._db.execute(
            "SELECT keep, mode, basis, size, drift, webhook, frozen FROM settings"
        ).fetchone()
        if row is None:
            return LearnerSettings(0, "off", "", 0), False
        keep, mode, basis, size, drift, webhook, frozen = row
        settings = LearnerSettings(keep, mode, basis, size, drift=drift, webhook=webhook)
        return settings, bool(frozen)

    def configure(self, settings: LearnerSettings, *, frozen: bool) -> None:
        """Store settings.

        Raises:
            Superseded
        """
        row = (
            *(settings.keep, settings.mode, settings.basis, settings.size, frozen),
            *(settings.drift, settings.webhook),
        )
        with self._file.transaction() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (1, ?, ?, ?, ?, ?, ?, ?)", row)

    def note(
        self, notes: Iterable[Note], keep: int, watched_at: float | None, *, learns: bool
    ) -> list[Shift]:
        """Store decisions, each once, and forget the oldest of more than `keep`.

        Where it `learns`, how long answers are is learned. Returns what has shifted, where it is
        `watched_at` a time and not None.

        Raises:
            Superseded
        """
        with self._file.transaction() as db:
            news = [note for note in notes if self._insert(note)]
            self._experiments.add(
                (note.arm, *value)
                for note in news
                if note.arm is not None
                for value in values(note.outcome)
            )
            if learns:
                self._lengths.add(note.outcome for note in news)
            shifts = self._watched(
                (value for note in news for value in traits(note.outcome)), watched_at
            )
            db.execute(
                "DELETE FROM decisions WHERE place <= (SELECT max(place) FROM decisions) - ?",
                (keep,),
            )
        return shifts

    def decision(self, request_id: str) -> KeptDecision | None:
        """Return a decision; None where it is unknown, or forgotten."""
        row = self._db.execute(
            "SELECT account, at, told, scores, score, judged_at, learned_in FROM decisions"
            " WHERE request_id = ?",
            (request_id,),
        ).fetchone()
        if row is None:
            return None
        account, at, told, *rest = row
        return KeptDecision(request_id, account, at, zlib.decompress(told), *rest)

    def answers(self, request_ids: Iterable[str]) -> dict[str, Answer]:
        """Return what is known of requests that are judged."""
        found = {}
        for request_id in request_ids:
            row = self._db.execute(
                "SELECT account, tier, expected, basis, features, score, learned_in"
                " FROM decisions WHERE request_id = ?",
                (request_id,),
            ).fetchone()
            if row is not None:
                found[request_id] = Answer(*row)
        return found

    def take(self, taken: Taken, watched_at: float | None) -> list[Shift]:
        """Store scores and lessons, and now and then a snapshot; all of it or nothing.

        Returns what has shifted, as `note` does.

        Raises:
            Superseded
        """
        with self._file.transaction() as db:
            db.executemany(
                "UPDATE decisions SET (score, judged_at, learned_in) = (?, ?, ?)"
                " WHERE request_id = ?",
                [
                    (one.score, one.at, told.learned_in, one.request_id)
                    for one, told in taken.scores
                ],
            )
            judged = [(one.score, *self._about(one.request_id)) for one, _ in taken.scores]
            self._experiments.add((arm, "quality", score) for score, _, arm in judged if arm)
            shifts = self._watched(
                ((Stream(*of, "quality"), score) for score, of, _ in judged), watched_at
            )
            db.executemany(
                "INSERT INTO lessons VALUES (?, ?, ?, ?)",
                [(one.version, one.tier, one.surplus, one.features) for one in taken.lessons],
            )
            if taken.lessons:
                self._lengths.keep(taken.state.version)
                (last,) = db.execute("SELECT max(version) FROM snapshots").fetchone()
                if taken.state.version - last >= _SNAPSHOT_EVERY:
                    self._snapshot(taken.state)
        return shifts

    def snapshot(self, state: State, past: int | None = None) -> None:
        """Store a state that does not follow from the one before by a lesson.

        Where it is one of the `past`, lengths are again as they were at that version.

        Raises:
            Superseded
        """
        with self._file.transaction():
            if past is not None:
                self._lengths.go_back(past)
            self._lengths.keep(state.version)
            self._snapshot(state)

    def latest(self) -> State | None:
        """Return the state that holds; None before the first."""
        (version,) = self._db.execute(
            "SELECT max(coalesce((SELECT max(version) FROM lessons), 0),"
            " coalesce((SELECT max(version) FROM snapshots), 0))"
        ).fetchone()
        return self.state(version)

    def state(self, version: int) -> State | None:
        """Return what held at a version; None where that is not kept, or never was."""
        row = self._db.execute(
            "SELECT state FROM snapshots WHERE version <= ? ORDER BY version DESC LIMIT 1",
            (version,),
        ).fetchone()
        if row is None:
            return None
        begun = _read(row[0])
        rows = self._db.execute(
            "SELECT * FROM lessons WHERE version > ? AND version <= ? ORDER BY version",
            (begun.version, version),
        )
        state = replay(begun, (Lesson(n, Tier(tier), *rest) for n, tier, *rest in rows))
        return state if state.version == version else None

    def oldest(self) -> int:
        """Return the first version that is kept."""
        (version,) = self._db.execute("SELECT min(version) FROM snapshots").fetchone()
        return version or 0

    def runs(self) -> list[Run]:
        """Return all runs of experiments as they stand, by name."""
        return self._experiments.runs()

    def change(self, changes: RunChanges, at: float) -> None:
        """Begin, end and forget runs of experiments.

        Raises:
            Superseded
        """
        with self._file.transaction():
            for name in changes.dropped:
                self._experiments.drop(name)
            for experiment in changes.begun:
                self._experiments.begin(experiment, at)
            for name, ending in changes.ended.items():
                self._experiments.end(name, ending, at)

    def lengths(self) -> Mapping[str, Length]:
        """Return what is known of how long answers are, by type of task."""
        return self._lengths.lengths()

    def shifts(self, *, undelivered: bool = False) -> list[Shift]:
        """Return all shifts, or those that nobody was told of yet, the oldest first."""
        return self._shifts.shifts(undelivered=undelivered)

    def mark_delivered(self, shift: Shift) -> None:
        """Note that somebody was told.

        Raises:
            Superseded
        """
        with self._file.transaction():
            self._shifts.mark_delivered(shift)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _insert(self, note: Note) -> bool:
        """Store a decision; return whether it is news."""
        arm = note.arm or (None, None, None)
        stored = self._db.execute(
            "INSERT OR IGNORE INTO decisions"
            " (request_id, account, at, tier, expected, basis, features, told, scores,"
            " experiment, arm, unit, task, endpoint)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(note.request_id, note.account, note.at, note.tier, note.expected, note.basis),
                *(note.features, zlib.compress(note.told, 1), note.scores, *arm),
                *(note.outcome.task, note.outcome.endpoint),
            ),
        )
        return bool(stored.rowcount)

    def _about(self, request_id: str) -> tuple[tuple[str, str], Arm | None]:
        """Return the task and the endpoint of a decision that is judged, and its arm."""
        task, endpoint, *arm = self._db.execute(
            "SELECT task, endpoint, experiment, arm, unit FROM decisions WHERE request_id = ?",
            (request_id,),
        ).fetchone()
        return (task, endpoint), None if arm[0] is None else Arm(*arm)

    def _watched(self, values: Iterable[tuple[Stream, float]], at: float | None) -> list[Shift]:
        return [] if at is None else self._shifts.add(values, at)

    def _snapshot(self, state: State) -> None:
        db = self._db
        db.execute("INSERT INTO snapshots VALUES (?, ?)", (state.version, _written(state)))
        (oldest,) = db.execute(
            "SELECT max(version) FROM snapshots WHERE version <= ?",
            (state.version - _MOST_LESSONS,),
        ).fetchone()
        if oldest is not None:
            db.execute("DELETE FROM snapshots WHERE version < ?", (oldest,))
            db.execute("DELETE FROM lessons WHERE version <= ?", (oldest,))
            self._lengths.forget(oldest)


def recorded(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield `told` and `scores` of each decision, the oldest first; the file may be in use.

    Raises:
        ConfigError: the file holds no decisions, or cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            for told, scores in db.execute("SELECT told, scores FROM decisions ORDER BY place"):
                yield zlib.decompress(told), scores
    except (sqlite3.Error, zlib.error) as exc:
        raise ConfigError(f"holds no decisions: {exc}", file=str(file)) from exc


def _written(state: State) -> bytes:
    arrays = {}
    for tier, known in state.learner.items():
        arrays[f"precision {tier.value}"] = known.precision
        arrays[f"moment {tier.value}"] = known.moment
        arrays[f"seen {tier.value}"] = np.array(known.seen)
    held = io.BytesIO()
    tiers = np.array([tier.value for tier in state.learner])
    np.savez(
        held,
        allow_pickle=False,
        version=np.array(state.version),
        basis=np.array(state.basis),
        tiers=tiers,
        **arrays,
    )
    return held.getvalue()


def _read(data: bytes) -> State:
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        learner = {
            Tier(number): Posterior(
                held[f"precision {number}"], held[f"moment {number}"], int(held[f"seen {number}"])
            )
            for number in held["tiers"].tolist()
        }
        return State(int(held["version"]), str(held["basis"]), learner)
