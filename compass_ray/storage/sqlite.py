"""A SQLite file with one writer: WAL mode, every commit on disk, versions, and a fence.

A second writer that opens the same file takes over a new epoch; from then on the first one's
commits are refused.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FENCE = """
    CREATE TABLE meta (epoch INTEGER NOT NULL);
    INSERT INTO meta VALUES (0);
"""
"""What the first schema of every file begins with."""


class Superseded(Exception):  # named for what happened
    """Another writer has taken over the file."""


class SingleWriter:
    """One open file; to be used by one thread at a time. `db` is for reading.

    `schemas` are the statements that lead from each version to the next; a file's version is its
    `user_version`.

    Raises:
        sqlite3.DatabaseError: the file is no database, or was written by a newer version.
    """

    def __init__(self, file: Path, schemas: Sequence[str]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        self.db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=10)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self._migrate(file, schemas)
        with self._whole():
            self.db.execute("UPDATE meta SET epoch = epoch + 1")
            (self._epoch,) = self.db.execute("SELECT epoch FROM meta").fetchone()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Store all that is done inside or nothing of it; on disk when this ends.

        Raises:
            Superseded
        """
        with self._whole():
            (epoch,) = self.db.execute("SELECT epoch FROM meta").fetchone()
            if epoch != self._epoch:
                raise Superseded(f"epoch {self._epoch} was followed by {epoch}")
            yield self.db

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _migrate(self, file: Path, schemas: Sequence[str]) -> None:
        with self._whole():
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if version > len(schemas):
                raise sqlite3.DatabaseError(
                    f"{file} was written by a newer version: "
                    f"schema {version}, known is {len(schemas)}"
                )
            for schema in schemas[version:]:
                for statement in schema.split(";"):
                    self.db.execute(statement)
            self.db.execute(f"PRAGMA user_version = {len(schemas)}")
