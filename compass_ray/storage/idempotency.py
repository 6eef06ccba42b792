"""The durable facts about idempotency keys: runs in progress, and answers that are told again.

The file holds answers, and so is for its owner's eyes alone; of what was asked it has a digest.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from compass_ray.policy.idempotency import Entry, Name
from compass_ray.storage.sqlite import FENCE, SingleWriter
from compass_ray.types.idempotency import Claim, KeptAnswer

_SCHEMAS = (
    FENCE
    + """
    CREATE TABLE keys (
        account TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL, claim TEXT NOT NULL,
        at REAL NOT NULL, size INTEGER NOT NULL, answered INTEGER NOT NULL,
        stream INTEGER NOT NULL, endpoint TEXT NOT NULL, provider TEXT NOT NULL,
        model TEXT NOT NULL, tier INTEGER NOT NULL, content BLOB,
        UNIQUE (account, key)
    );
    CREATE INDEX by_age ON keys (at);
    CREATE INDEX by_account ON keys (account, answered, at, size);
    CREATE INDEX in_progress ON keys (claim) WHERE NOT answered;
    """,
)
_ROW_BYTES = 500
"""What a key takes beside its answer, about."""
_BATCH = 500


class IdempotencyStore:
    """One open file; to be used by one thread at a time.

    Raises:
        sqlite3.DatabaseError: the file is no such store, or was written by a newer version.
    """

    def __init__(self, file: Path) -> None:
        self._file = SingleWriter(file, _SCHEMAS)
        self._db = self._file.db

    def in_progress(self) -> list[str]:
        """Return the claim ids of all runs that have not ended."""
        return [claim for (claim,) in self._db.execute("SELECT claim FROM keys WHERE NOT answered")]

    def load(self, names: Iterable[Name]) -> dict[Name, Entry]:
        """Return what is known of these names."""
        return {name: entry for name in names if (entry := self._entry(name)) is not None}

    def commit(self, changes: Mapping[Name, Entry | None]) -> None:
        """Store all of `changes`, None for what is gone, or nothing; on disk when this returns.

        Raises:
            Superseded
        """
        gone = [name for name, entry in changes.items() if entry is None]
        rows = [_row(entry) for entry in changes.values() if entry is not None]
        with self._file.transaction() as db:
            db.executemany("DELETE FROM keys WHERE account = ? AND key = ?", gone)
            db.executemany(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def forget_older(self, unix: float, living: Collection[str]) -> int:
        """Forget some of what is older than `unix`, but no run in `living`; return how many."""
        rows = self._db.execute(
            "SELECT rowid, claim, answered FROM keys WHERE at < ? ORDER BY at LIMIT ?",
            (unix, _BATCH + len(living)),
        ).fetchall()
        return self._forget(
            rowid for rowid, claim, answered in rows if answered or claim not in living
        )

    def forget_beyond(self, most_bytes: int) -> int:
        """Forget some of the answers while the file holds more; return how many.

        The oldest of whoever takes the most room: no account drives out another's answers.
        """
        excess = self._used() - most_bytes
        if excess <= 0:
            return 0
        largest = self._db.execute(
            "SELECT account FROM keys WHERE answered GROUP BY account"
            " ORDER BY sum(size) DESC LIMIT 1"
        ).fetchone() or ("",)
        rows = self._db.execute(
            "SELECT rowid, size FROM keys WHERE account = ? AND answered ORDER BY at LIMIT ?",
            (*largest, _BATCH),
        ).fetchall()
        before = accumulate((size for _, size in rows), initial=0)
        return self._forget(
            rowid for (rowid, _), freed in zip(rows, before, strict=False) if freed < excess
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _entry(self, name: Name) -> Entry | None:
        row = self._db.execute(
            "SELECT fingerprint, claim, at, answered, stream, endpoint, provider, model, tier,"
            " content FROM keys WHERE account = ? AND key = ?",
            name,
        ).fetchone()
        if row is None:
            return None
        fingerprint, claim, at, answered, stream, *rest = row
        answer = KeptAnswer(bool(stream), *rest) if answered else None
        return Entry(Claim(*name, fingerprint, claim), at, answer)

    def _used(self) -> int:
        """Return the bytes of the file that are in use."""
        told = [
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        ]
        pages, free, size = told
        return int((pages - free) * size)

    def _forget(self, rowids: Iterable[int]) -> int:
        found = [(rowid,) for rowid in rowids]
        if found:
            with self._file.transaction() as db:
                db.executemany("DELETE FROM keys WHERE rowid = ?", found)
        return len(found)


def _row(entry: Entry) -> tuple[Any, ...]:
    claim, answer = entry.claim, entry.answer
    head = (claim.account, claim.key, claim.fingerprint, claim.id, entry.at)
    if answer is None:
        return (*head, _ROW_BYTES, False, False, "", "", "", 0, None)
    content = answer.content
    return (
        *head,
        _ROW_BYTES + len(content or b""),
        True,
        answer.stream,
        answer.endpoint,
        answer.provider,
        answer.model,
        answer.tier,
        content,
    )
