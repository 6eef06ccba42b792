"""Files of callers and batches of requests: rows in SQLite, contents in a folder beside it.

A file's content is whole and on disk before its row is there. Both hold prompts and answers, and
so are for their owner's eyes alone.
"""

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from compass_ray.storage import callers
from compass_ray.storage.sqlite import FENCE, SingleWriter
from compass_ray.types.batches import (
    Batch,
    Changes,
    Counts,
    LineError,
    Outcome,
    Page,
    Purpose,
    StoredFile,
)

_SCHEMAS = (
    FENCE
    + """
    CREATE TABLE files (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, purpose TEXT NOT NULL,
        size INTEGER NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX files_by_account ON files (account, created_at, id);
    CREATE INDEX files_by_end ON files (expires_at);
    CREATE TABLE batches (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, created_at REAL NOT NULL,
        input_file TEXT NOT NULL, over INTEGER NOT NULL, told BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX batches_by_account ON batches (account, created_at, id);
    CREATE INDEX batches_under_way ON batches (input_file) WHERE NOT over;
    CREATE TABLE outcomes (
        batch TEXT NOT NULL, number INTEGER NOT NULL, ok INTEGER NOT NULL, cost INTEGER NOT NULL,
        written BLOB NOT NULL, PRIMARY KEY (batch, number)
    ) WITHOUT ROWID;
    """,
)
_FILE = "id, account, name, purpose, size, created_at, expires_at"
_PART = ".part"
_DAY = 86_400.0


class BatchStore:
    """One open file and its folder; to be used by one thread at a time.

    Raises:
        sqlite3.DatabaseError: the file is no such store, or was written by a newer version.
    """

    def __init__(self, file: Path, folder: Path) -> None:
        self._file = SingleWriter(file, _SCHEMAS)
        self._db = self._file.db
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.suffix == _PART or self.file(path.name) is None:
                path.unlink()  # of an upload, or a deletion, that a crash has cut off

    def write(self, name: str, offset: int, piece: bytes) -> None:
        """Write a piece of a content that is on its way; the one at 0 begins it anew.

        Raises:
            FileNotFoundError: it did not begin here, or was taken away.
            OSError: the disk refuses.
        """
        flags = os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if offset == 0 else 0)
        handle = os.open(self._part(name), flags, 0o600)
        try:
            written = 0
            while written < len(piece):
                written += os.pwrite(handle, piece[written:], offset + written)
        finally:
            os.close(handle)

    def discard(self, name: str) -> None:
        """Take away a content that was on its way."""
        self._part(name).unlink(missing_ok=True)

    def keep(self, file: StoredFile) -> None:
        """Make a content that was written whole a file; on disk when this returns.

        Raises:
            FileNotFoundError: nothing was written, or it was kept already.
            Superseded
        """
        self._settle(file.id)
        with self._file.transaction() as db:
            _add(db, file)

    def file(self, name: str) -> StoredFile | None:
        """Return a file's row."""
        row = self._db.execute(f"SELECT {_FILE} FROM files WHERE id = ?", (name,)).fetchone()  # noqa: S608
        return None if row is None else StoredFile(*row)

    def files(self, account: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        """Return an account's files."""
        told = "" if purpose is None else "AND purpose = :purpose"
        query = f"SELECT {_FILE} FROM files WHERE account = :account {told}"  # noqa: S608
        rows = self._page(query, "files", page, account=account, purpose=purpose)
        return [StoredFile(*row) for row in rows]

    def bytes_of(self, account: str) -> int:
        """Return the bytes that the files have which an account has uploaded."""
        query = "SELECT coalesce(sum(size), 0) FROM files WHERE account = ? AND purpose = 'batch'"
        (size,) = self._db.execute(query, (account,)).fetchone()
        return int(size)

    def open(self, name: str) -> BinaryIO:
        """Open a file's content for reading.

        Raises:
            FileNotFoundError
        """
        return self._path(name).open("rb")

    def is_in_use(self, name: str) -> bool:
        """Return whether a batch that is not over reads this file."""
        query = "SELECT 1 FROM batches WHERE input_file = ? AND NOT over"
        return self._db.execute(query, (name,)).fetchone() is not None

    def delete(self, name: str) -> None:
        """Delete a file.

        Raises:
            Superseded
        """
        with self._file.transaction() as db:
            db.execute("DELETE FROM files WHERE id = ?", (name,))
        self._path(name).unlink(missing_ok=True)

    def commit(self, changes: Iterable[Changes]) -> None:
        """Store all of it or nothing; on disk when this returns.

        Raises:
            Superseded
        """
        with self._file.transaction() as db:
            for one in changes:
                db.executemany(
                    "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?)",
                    [
                        (batch, end.number, end.ok, end.cost, end.written)
                        for batch, end in one.outcomes
                    ],
                )
                if one.batch is not None:
                    _set(db, one.batch, over=False)

    def finish(self, batch: Batch, files: Iterable[StoredFile]) -> None:
        """Store a batch that is over, with its result files, whose contents were written.

        Raises:
            FileNotFoundError: a content was not written.
            Superseded
        """
        files = list(files)
        for file in files:
            self._settle(file.id)
        with self._file.transaction() as db:
            for file in files:
                _add(db, file)
            _set(db, batch, over=True)
            db.execute("DELETE FROM outcomes WHERE batch = ?", (batch.id,))

    def batch(self, name: str) -> Batch | None:
        """Return a batch."""
        row = self._db.execute("SELECT told FROM batches WHERE id = ?", (name,)).fetchone()
        return None if row is None else _batch(row[0])

    def batches(self, account: str, page: Page) -> list[Batch]:
        """Return an account's batches."""
        query = "SELECT told FROM batches WHERE account = :account"
        return [_batch(told) for (told,) in self._page(query, "batches", page, account=account)]

    def unfinished(self) -> list[str]:
        """Return the batches that are not over, the oldest first."""
        rows = self._db.execute("SELECT id FROM batches WHERE NOT over ORDER BY created_at")
        return [name for (name,) in rows]

    def ended(self, batch: str) -> list[Outcome]:
        """Return how requests of a batch ended, without what was written of them."""
        rows = self._db.execute("SELECT number, ok, cost FROM outcomes WHERE batch = ?", (batch,))
        return [Outcome(number, bool(ok), cost, b"") for number, ok, cost in rows]

    def outcomes(self, batch: str, after: int, most: int) -> list[Outcome]:
        """Return how requests of a batch ended, in the order of their lines, after that one."""
        rows = self._db.execute(
            "SELECT number, ok, cost, written FROM outcomes WHERE batch = ? AND number > ? "
            "ORDER BY number LIMIT ?",
            (batch, after, most),
        )
        return [Outcome(number, bool(ok), cost, told) for number, ok, cost, told in rows]

    def forget_older(self, unix: float, keep_batches: float) -> None:
        """Delete the files that expire before `unix`, and the batches that are that much older.

        So are uploads that were not ended within a day.
        """
        rows = self._db.execute("SELECT id FROM files WHERE expires_at < ?", (unix,)).fetchall()
        for (name,) in rows:
            if not self.is_in_use(name):
                self.delete(name)
        for part in self._folder.glob(f"*{_PART}"):
            if part.stat().st_mtime < unix - _DAY:
                part.unlink()  # of an upload whose replica has died
        with self._file.transaction() as db:
            old = unix - keep_batches - _DAY
            db.execute("DELETE FROM batches WHERE over AND created_at < ?", (old,))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _page(self, query: str, table: str, page: Page, **values: Any) -> list[tuple[Any, ...]]:
        order, beyond = ("DESC", "<") if page.latest_first else ("ASC", ">")
        place = f"(created_at, id) {beyond} (SELECT created_at, id FROM {table} WHERE id = :after)"  # noqa: S608
        query += (
            f" AND (:after IS NULL OR {place}) ORDER BY created_at {order}, id {order} LIMIT :most"
        )
        return self._db.execute(
            query, {**values, "after": page.after, "most": page.most}
        ).fetchall()

    def _settle(self, name: str) -> None:
        with self._part(name).open("rb") as content:
            os.fsync(content.fileno())
        self._part(name).replace(self._path(name))
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _path(self, name: str) -> Path:
        if "/" in name or name.startswith("."):
            raise FileNotFoundError(name)
        return self._folder / name

    def _part(self, name: str) -> Path:
        return self._path(name).with_suffix(_PART)


def _add(db: sqlite3.Connection, file: StoredFile) -> None:
    row = (
        file.id,
        file.account,
        file.name,
        file.purpose,
        file.size,
        file.created_at,
        file.expires_at,
    )
    db.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _set(db: sqlite3.Connection, batch: Batch, *, over: bool) -> None:
    told = asdict(batch) | {
        "caller": callers.as_json(batch.caller),
        "counts": [*batch.counts],
        "errors": [[*one] for one in batch.errors],
    }
    row = (
        batch.id,
        batch.caller.account,
        batch.created_at,
        batch.input_file,
        over,
        orjson.dumps(told),
    )
    db.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?)", row)


def _batch(told: bytes) -> Batch:
    fields = orjson.loads(told)
    fields["caller"] = callers.from_json(fields["caller"])
    fields["counts"] = Counts(*fields["counts"])
    fields["errors"] = tuple(LineError(*one) for one in fields["errors"])
    return Batch(**fields)
