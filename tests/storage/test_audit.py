import sqlite3
from contextlib import closing

import pytest

from compass_ray.policy.books import apply
from compass_ray.storage.audit import BucketSum, PayeeSum, audit, explain
from compass_ray.storage.ledger import LedgerStore
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.errors import ConfigError
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Sync, Wish
from compass_ray.types.usage import Usage

ACCOUNTS = {
    "org": Account("org", None, (Limit(1_000),)),
    "team": Account("team", "org", (Limit(1_000),)),
}
BUCKETS = ("team@lifetime", "org@lifetime")


def settlement(name, outcome="settled", cost=10, buckets=BUCKETS):
    paid = ("p", "m") if outcome == "settled" else ("", "")
    return Settlement(Reservation(name, buckets, 20, 1.0), outcome, cost, *paid, Usage(), 2.0)


@pytest.fixture
def store(tmp_path):
    """Books made by the real policy: two replicas, every outcome, an open lease."""
    with closing(LedgerStore(tmp_path / "ledger.db")) as store:
        ends = (
            settlement("q1/0", "voided", 0),
            settlement("q1/1"),
            settlement("q2/0", "expired", 20),
        )
        wishes = {BUCKETS[0]: Wish(0, 0, 400, 400)}
        syncs = [
            Sync("r1", 1, ends, wishes),
            Sync("r2", 1, (settlement("q3/0", buckets=BUCKETS[1:]),)),
        ]
        changes, _ = apply(store.load(), ACCOUNTS, syncs, set(), 0.0)
        store.commit(changes)
        yield store


def falsify(tmp_path, statement):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db, db:
        db.execute(statement)


def test_honest_books_add_up_while_they_are_in_use(store, tmp_path):
    found = audit(tmp_path / "ledger.db")

    assert found.mistakes == ()
    assert found.buckets == (
        BucketSum("org@lifetime", 40, 40, 4, 0),
        BucketSum("team@lifetime", 30, 30, 3, 370),
    )
    assert found.payees == (PayeeSum("expired", 20, 20), PayeeSum("p/m", 20, 20))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE buckets SET spent = spent - 1 WHERE key LIKE 'org%'", "org@lifetime has spent 39"),
        ("DELETE FROM postings WHERE id = 'q3/0'", "its postings are 30"),
        ("UPDATE postings SET cost = 5 WHERE id = 'q2/0'", "q2/0 is expired with 5 of 20"),
        ("UPDATE postings SET cost = 1 WHERE id = 'q1/0'", "q1/0 is voided with 1"),
        ("UPDATE leases SET settled = 31 WHERE bucket LIKE 'team%'", "replica r1 settled 31"),
        ("DELETE FROM buckets WHERE key LIKE 'team%'", "team@lifetime has spent 0"),
        ("UPDATE payees SET paid = 21 WHERE payee = 'p/m'", "p/m was paid 21, its postings are 20"),
        ("DELETE FROM payees WHERE payee = 'expired'", "expired was paid 0"),
    ],
)
def test_whatever_does_not_add_up_is_told(store, tmp_path, statement, told):
    falsify(tmp_path, statement)

    mistakes = audit(tmp_path / "ledger.db").mistakes

    assert any(told in mistake for mistake in mistakes), mistakes


def test_reading_takes_nothing_over_from_the_ledger_that_writes(store, tmp_path):
    audit(tmp_path / "ledger.db")
    rows = explain(tmp_path / "ledger.db", "q1")

    changes, _ = apply(store.load(), ACCOUNTS, [Sync("r1", 2, (settlement("q4/0"),))], set(), 0.0)
    store.commit(changes)

    assert [(row["outcome"], row["refunded"], row["overage"]) for row in rows] == [
        ("voided", 20, 0),
        ("settled", 10, 0),
    ]
    assert audit(tmp_path / "ledger.db").mistakes == ()


def test_what_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.db").write_text("not a database, but long enough to be read as one" * 99)

    with pytest.raises(ConfigError, match="not a database"):
        audit(tmp_path / "ledger.db")
