"""The Ledger's durable books, in a file of their own; all amounts are integer micro-dollars.

Each posting is entered twice: with every bucket that is charged, and with the payee that it is
charged for. The postings are only added to.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import orjson

from compass_ray.policy.books import Books, Changes, Progress
from compass_ray.policy.budget import Lease, Pot, is_over
from compass_ray.storage.sqlite import FENCE, SingleWriter
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Settlement
from compass_ray.types.money import Alert
from compass_ray.types.settings import AlertSettings

PAYEE = "CASE provider WHEN '' THEN outcome ELSE provider || '/' || model END"
"""Of a posting, in SQL; as `Settlement.payee`."""

_SCHEMAS = (
    FENCE
    + """
    CREATE TABLE buckets (key TEXT PRIMARY KEY, spent INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE leases (
        replica TEXT, bucket TEXT, granted INTEGER NOT NULL, settled INTEGER NOT NULL,
        PRIMARY KEY (replica, bucket)
    ) WITHOUT ROWID;
    CREATE TABLE replicas (
        name TEXT PRIMARY KEY, seq INTEGER NOT NULL, posted INTEGER NOT NULL,
        closed INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE postings (
        id TEXT PRIMARY KEY, buckets TEXT NOT NULL, outcome TEXT NOT NULL,
        reserved INTEGER NOT NULL, cost INTEGER NOT NULL,
        provider TEXT NOT NULL, model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
        cached_input_tokens INTEGER NOT NULL, estimated INTEGER NOT NULL,
        reserved_at REAL NOT NULL, ended_at REAL NOT NULL, replica TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE replicas DROP COLUMN posted;
    ALTER TABLE leases RENAME TO old_leases;
    CREATE TABLE leases (
        bucket TEXT, replica TEXT, granted INTEGER NOT NULL, settled INTEGER NOT NULL,
        PRIMARY KEY (bucket, replica)
    ) WITHOUT ROWID;
    INSERT INTO leases SELECT bucket, replica, granted, settled FROM old_leases;
    DROP TABLE old_leases;
    ALTER TABLE postings ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE postings ADD COLUMN reasoning_tokens INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE alerts (
        bucket TEXT, account TEXT NOT NULL, unit TEXT NOT NULL, percent INTEGER,
        spent INTEGER NOT NULL, bucket_limit INTEGER NOT NULL, at REAL NOT NULL,
        delivered INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (bucket, percent, bucket_limit)
    ) WITHOUT ROWID;
    CREATE TABLE settings (told TEXT NOT NULL);
    ALTER TABLE postings ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE postings ADD COLUMN reason TEXT NOT NULL DEFAULT '';
    """,
    f"""
    CREATE TABLE payees (payee TEXT PRIMARY KEY, paid INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO payees SELECT {PAYEE}, sum(cost) FROM postings WHERE cost != 0 GROUP BY 1;
    """,  # noqa: S608  # nobody's words
)

_POST = f"INSERT INTO postings VALUES ({', '.join('?' * 18)})"  # noqa: S608  # only question marks
_PAY = (
    "INSERT INTO payees VALUES (?, ?) ON CONFLICT (payee) DO UPDATE SET paid = paid + excluded.paid"
)
_POSTINGS = """
    SELECT *, CASE outcome WHEN 'adjusted' THEN 0 ELSE max(0, reserved - cost) END AS refunded,
              CASE outcome WHEN 'adjusted' THEN 0 ELSE max(0, cost - reserved) END AS overage
    FROM postings WHERE id >= ? AND id < ? ORDER BY id
"""
_LEASED = "SELECT DISTINCT bucket FROM leases WHERE granted > settled"
_MOST_VARIABLES = 500
_MOST_ALERTS = 10_000
"""That are read at once: who asks for them keeps nobody waiting."""


def postings(db: sqlite3.Connection, request_id: str) -> list[dict[str, object]]:
    """Return every posting of a request, attempt by attempt.

    `refunded` is what was reserved and not charged, `overage` what was charged beyond it.
    """
    rows = db.execute(_POSTINGS, (f"{request_id}/", f"{request_id}0"))
    names = [column[0] for column in rows.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


class LedgerStore:
    """One open file; to be used by one thread at a time.

    Raises:
        sqlite3.DatabaseError: the file is not a ledger, or was written by a newer version.
    """

    def __init__(self, file: Path) -> None:
        self._file = SingleWriter(file, _SCHEMAS)
        self._db = self._file.db

    def load(self, over: float = 0.0) -> Books:
        """Return what decisions rest on, but windows that were over at `over` (Unix seconds)."""
        keys = [key for (key,) in self._db.execute("SELECT key FROM buckets")]
        leased = {key for (key,) in self._db.execute(_LEASED)}
        names = [name for (name,) in self._db.execute("SELECT name FROM replicas WHERE NOT closed")]
        return self.read([key for key in keys if key in leased or not is_over(key, over)], names)

    def read(
        self, keys: Sequence[str], names: Sequence[str] = (), holders: Sequence[str] = ()
    ) -> Books:
        """Return these buckets and replicas, and the buckets that `holders` have leases of."""
        books = Books()
        held = self._among("SELECT DISTINCT bucket FROM leases WHERE replica", holders)
        keys = [*{*keys, *(key for (key,) in held)}]
        for key, spent in self._among("SELECT * FROM buckets WHERE key", keys):
            books.pots[key] = Pot(spent)
        rows = self._among("SELECT * FROM leases WHERE bucket", keys)
        for bucket, replica, granted, settled in rows:
            pot = books.pots.setdefault(bucket, Pot())
            pot.leases[replica] = Lease(granted, settled)
            pot.leased += pot.leases[replica].outstanding
        for name, seq, closed in self._among("SELECT * FROM replicas WHERE name", names):
            books.progress[name] = Progress(seq, bool(closed))
        return books

    def posted(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` (of reservations) that are posted already."""
        return {name for (name,) in self._among("SELECT id FROM postings WHERE id", ids)}

    def _among(self, query: str, values: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query that ends with a column, where it is one of `values`."""
        for start in range(0, len(values), _MOST_VARIABLES):
            some = values[start : start + _MOST_VARIABLES]
            yield from self._db.execute(f"{query} IN ({', '.join('?' * len(some))})", some)

    def commit(self, changes: Changes) -> None:
        """Store all of `changes` or nothing of it; on disk when this returns.

        Raises:
            Superseded
        """
        with self._file.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?)",
                [(key, pot.spent) for key, pot in changes.pots.items()],
            )
            db.executemany("DELETE FROM leases WHERE bucket = ?", [(key,) for key in changes.pots])
            db.executemany(
                "INSERT INTO leases VALUES (?, ?, ?, ?)",
                [
                    (key, name, lease.granted, lease.settled)
                    for key, pot in changes.pots.items()
                    for name, lease in pot.leases.items()
                ],
            )
            db.executemany(
                "INSERT OR REPLACE INTO replicas VALUES (?, ?, ?)",
                [(name, p.seq, p.closed) for name, p in changes.progress.items()],
            )
            db.executemany(_POST, [_row(name, s) for name, s in changes.postings])
            paid: Counter[str] = Counter()
            for _, settlement in changes.postings:
                paid[settlement.payee] += settlement.cost
            db.executemany(_PAY, [(payee, cost) for payee, cost in paid.items() if cost])
            db.executemany(
                "INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                [astuple(one) for one in changes.alerts],
            )

    def postings(self, request_id: str) -> list[dict[str, object]]:
        """Return every posting of a request, attempt by attempt."""
        return postings(self._db, request_id)

    def alerts(self, *, undelivered: bool = False) -> list[Alert]:
        """Return the latest alerts, or those that were not delivered yet; the oldest first."""
        rows = self._db.execute(
            "SELECT bucket, account, unit, percent, spent, bucket_limit, at FROM alerts "
            "WHERE delivered = 0 OR NOT ? ORDER BY at DESC, bucket DESC, percent DESC LIMIT ?",
            (undelivered, _MOST_ALERTS),
        )
        return [Alert(*row) for row in rows][::-1]

    def mark_delivered(self, alert: Alert) -> None:
        """Note that somebody took it; on disk when this returns."""
        with self._file.transaction() as db:
            db.execute(
                "UPDATE alerts SET delivered = 1 "
                "WHERE bucket = ? AND percent = ? AND bucket_limit = ?",
                (alert.bucket, alert.percent, alert.limit),
            )

    def configure(self, accounts: Mapping[str, Account], alerts: AlertSettings) -> None:
        """Keep what an operator decided, for the next start; on disk when this returns."""
        told = orjson.dumps({"accounts": list(accounts.values()), "alerts": alerts})
        with self._file.transaction() as db:
            db.execute("DELETE FROM settings")
            db.execute("INSERT INTO settings VALUES (?)", (told.decode(),))

    def configured(self) -> tuple[dict[str, Account], AlertSettings] | None:
        """Return what was kept last; None where nothing was."""
        row = self._db.execute("SELECT told FROM settings").fetchone()
        if row is None:
            return None
        told = orjson.loads(row[0])
        accounts = (
            Account(one["id"], one["parent"], tuple(Limit(**limit) for limit in one["limits"]))
            for one in told["accounts"]
        )
        alerts = AlertSettings(tuple(told["alerts"]["percents"]), told["alerts"]["webhook"])
        return {account.id: account for account in accounts}, alerts

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        settlement.charges().tokens,
        settlement.reason,
    )
