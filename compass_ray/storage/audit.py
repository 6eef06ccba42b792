"""Adds up the Ledger's postings again and compares the sums with its books. Reads only.

The file may be in use: one transaction sees one state of it.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from compass_ray.policy import budget
from compass_ray.policy.drift import DayUsage
from compass_ray.storage.ledger import PAYEE, postings
from compass_ray.types.errors import ConfigError
from compass_ray.types.events import Amounts

_NO_REQUEST = frozenset({"voided", "adjusted"})


@dataclass(frozen=True, slots=True)
class BucketSum:
    """One bucket: what the books say, and what its postings add up to, in the bucket's unit."""

    bucket: str
    spent: int
    posted: int
    postings: int
    leased: int


@dataclass(frozen=True, slots=True)
class PayeeSum:
    """Whom charges are booked to: what the books say, and what the postings add up to."""

    payee: str
    paid: int
    posted: int


@dataclass(frozen=True, slots=True)
class Audit:
    """Every bucket's and payee's sums, and in words whatever does not add up."""

    buckets: tuple[BucketSum, ...]
    payees: tuple[PayeeSum, ...]
    mistakes: tuple[str, ...]


def audit(file: Path) -> Audit:
    """Add up all postings; money is not made up, nor lost.

    Raises:
        ConfigError: the file is not a ledger, or cannot be read.
    """
    with _reading(file) as db:
        db.execute("BEGIN")
        posted: dict[str, int] = defaultdict(int)
        counts: dict[str, int] = defaultdict(int)
        by_replica: dict[tuple[str, str], int] = defaultdict(int)
        rows = db.execute("SELECT replica, buckets, cost, tokens, outcome FROM postings")
        for replica, buckets, cost, tokens, outcome in rows:
            charges = Amounts(cost, tokens, tokens, int(outcome not in _NO_REQUEST), 0)
            for bucket in buckets.split():
                charge = charges[budget.measure(bucket)]
                posted[bucket] += charge
                counts[bucket] += 1
                by_replica[replica, bucket] += charge
        payees = _payees(db)
        spent: dict[str, int] = dict(db.execute("SELECT key, spent FROM buckets"))
        leased: dict[str, int] = defaultdict(int)
        mistakes = list(_wrong_postings(db))
        for bucket, replica, granted, settled in db.execute("SELECT * FROM leases"):
            leased[bucket] += max(0, granted - settled)
            if settled > by_replica[replica, bucket]:
                mistakes.append(
                    f"replica {replica} settled {settled} of {bucket}, "
                    f"its postings are {by_replica[replica, bucket]}"
                )
    sums = tuple(
        BucketSum(key, spent.get(key, 0), posted[key], counts[key], leased[key])
        for key in sorted(spent.keys() | posted.keys())
    )
    mistakes += [
        f"{one.bucket} has spent {one.spent}, its postings are {one.posted}"
        for one in sums
        if one.spent != one.posted and not budget.is_minute(one.bucket)  # a minute is forgotten
    ]
    mistakes += [
        f"{one.payee} was paid {one.paid}, its postings are {one.posted}"
        for one in payees
        if one.paid != one.posted
    ]
    return Audit(sums, payees, tuple(mistakes))


def usage(file: Path, provider: str) -> list[DayUsage]:
    """Return what was posted of a provider, by day (UTC) and model.

    Raises:
        ConfigError: the file is not a ledger, or cannot be read.
    """
    with _reading(file) as db:
        rows = db.execute(
            """
            SELECT date(ended_at, 'unixepoch'), model, sum(input_tokens), sum(output_tokens),
                   sum(cost)
            FROM postings WHERE provider = ? GROUP BY 1, 2 ORDER BY 1, 2
            """,
            (provider,),
        )
        return [DayUsage(*row) for row in rows]


def explain(file: Path, request_id: str) -> list[dict[str, object]]:
    """Return every posting of a request, attempt by attempt.

    Raises:
        ConfigError: the file is not a ledger, or cannot be read.
    """
    with _reading(file) as db:
        return postings(db, request_id)


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            yield db
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"cannot be read as a ledger: {error}", file=str(file)) from error


def _payees(db: sqlite3.Connection) -> tuple[PayeeSum, ...]:
    paid = dict(db.execute("SELECT payee, paid FROM payees"))
    query = f"SELECT {PAYEE}, sum(cost) FROM postings WHERE cost != 0 GROUP BY 1"  # noqa: S608
    posted = dict(db.execute(query))
    names = sorted(paid.keys() | posted.keys())
    return tuple(PayeeSum(name, paid.get(name, 0), posted.get(name, 0)) for name in names)


def _wrong_postings(db: sqlite3.Connection) -> Iterator[str]:
    rows = db.execute("""
        SELECT id, outcome, reserved, cost FROM postings
        WHERE (cost < 0 AND outcome != 'adjusted') OR reserved < 0
           OR (outcome = 'voided' AND cost != 0)
           OR (outcome = 'expired' AND cost != reserved)
    """)
    for name, outcome, reserved, cost in rows:
        yield f"posting {name} is {outcome} with {cost} of {reserved} reserved"
