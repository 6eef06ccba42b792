"""The Ledger's durable books: SQLite in WAL mode, one writer, every commit on disk.

All amounts are integer micro-dollars. A second writer that opens the same file takes over a new
epoch; from then on the first one's commits are refused.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from compass_ray.policy.budget import Lease, Pot
from compass_ray.types.events import Settlement

_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (epoch INTEGER NOT NULL);
INSERT INTO meta VALUES (0);
CREATE TABLE buckets (key TEXT PRIMARY KEY, spent INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE leases (
    replica TEXT, bucket TEXT, granted INTEGER NOT NULL, settled INTEGER NOT NULL,
    PRIMARY KEY (replica, bucket)
) WITHOUT ROWID;
CREATE TABLE replicas (
    name TEXT PRIMARY KEY, seq INTEGER NOT NULL, posted INTEGER NOT NULL, closed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE postings (
    id TEXT PRIMARY KEY, buckets TEXT NOT NULL, outcome TEXT NOT NULL,
    reserved INTEGER NOT NULL, cost INTEGER NOT NULL,
    provider TEXT NOT NULL, model TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, estimated INTEGER NOT NULL,
    reserved_at REAL NOT NULL, ended_at REAL NOT NULL, replica TEXT NOT NULL
) WITHOUT ROWID;
"""
_POST = "INSERT INTO postings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Superseded(Exception):  # named for what happened
    """Another writer has taken over the file."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one replica has come: its last message, and its last durable settlement."""

    seq: int = 0
    posted: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What one group of messages changed: values to store, and rows to add."""

    pots: Mapping[str, Pot]
    """By bucket; each is stored whole, with its leases."""
    progress: Mapping[str, Progress]
    postings: Iterable[tuple[str, Settlement]]
    """(replica, settlement)."""


class LedgerStore:
    """One open file; to be used by one thread at a time.

    Raises:
        sqlite3.DatabaseError: the file is not a ledger, or was written by a newer version.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._migrate(file)
        with _transaction(self._db):
            self._db.execute("UPDATE meta SET epoch = epoch + 1")
            (self._epoch,) = self._db.execute("SELECT epoch FROM meta").fetchone()

    def load(self) -> tuple[dict[str, Pot], dict[str, Progress]]:
        """Return everything that decisions rest on."""
        pots = {key: Pot(spent) for key, spent in self._db.execute("SELECT * FROM buckets")}
        for replica, bucket, granted, settled in self._db.execute("SELECT * FROM leases"):
            pot = pots.setdefault(bucket, Pot())
            pot.leases[replica] = Lease(granted, settled)
            pot.leased += pot.leases[replica].outstanding
        rows = self._db.execute("SELECT name, seq, posted, closed FROM replicas")
        return pots, {
            name: Progress(seq, posted, bool(closed)) for name, seq, posted, closed in rows
        }

    def commit(self, changes: Changes) -> None:
        """Store all of `changes` or nothing of it; on disk when this returns.

        Raises:
            Superseded
        """
        with _transaction(self._db):
            epoch = self._db.execute("SELECT epoch FROM meta").fetchone()[0]
            if epoch != self._epoch:
                raise Superseded(f"epoch {self._epoch} was followed by {epoch}")
            self._db.executemany(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?)",
                [(key, pot.spent) for key, pot in changes.pots.items()],
            )
            for key, pot in changes.pots.items():
                self._db.execute("DELETE FROM leases WHERE bucket = ?", (key,))
                self._db.executemany(
                    "INSERT INTO leases VALUES (?, ?, ?, ?)",
                    [
                        (name, key, lease.granted, lease.settled)
                        for name, lease in pot.leases.items()
                    ],
                )
            self._db.executemany(
                "INSERT OR REPLACE INTO replicas VALUES (?, ?, ?, ?)",
                [(name, p.seq, p.posted, p.closed) for name, p in changes.progress.items()],
            )
            self._db.executemany(_POST, [_row(name, s) for name, s in changes.postings])

    def postings(self, request_id: str) -> list[dict[str, object]]:
        """Return every posting of a request, attempt by attempt."""
        rows = self._db.execute(
            "SELECT * FROM postings WHERE id >= ? AND id < ? ORDER BY id",
            (f"{request_id}/", f"{request_id}0"),
        )
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _migrate(self, file: Path) -> None:
        with _transaction(self._db):
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise sqlite3.DatabaseError(
                    f"{file} was written by a newer version: schema {version}, known is {_VERSION}"
                )
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {_VERSION}")


class _transaction:  # noqa: N801  # reads as a statement
    """BEGIN IMMEDIATE, then COMMIT, or ROLLBACK on any exception."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _row(replica: str, settlement: Settlement) -> tuple[object, ...]:
    reservation, usage = settlement.reservation, settlement.usage
    return (
        reservation.id,
        " ".join(reservation.buckets),
        settlement.outcome,
        reservation.amount,
        settlement.cost,
        settlement.provider,
        settlement.model,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.estimated,
        reservation.at,
        settlement.at,
        replica,
    )
