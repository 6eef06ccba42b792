import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from compass_ray.policy.books import Books, Changes, Progress
from compass_ray.policy.budget import Lease, Pot
from compass_ray.storage import ledger as module
from compass_ray.storage.ledger import LedgerStore
from compass_ray.storage.sqlite import Superseded
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Alert
from compass_ray.types.usage import Usage

NOW = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
POT = Pot(30, 70, {"r1": Lease(90, 20), "r2": Lease(10, 10)})


def settlement(name, cost=10):
    usage = Usage(3, 4, 1, 2, 1, estimated=True)
    reservation = Reservation(name, ("a@lifetime", "org@2026-11"), 20, 1.0)
    return Settlement(reservation, "settled", cost, "p", "m", usage, 2.0)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "l.db"


@pytest.fixture
def store(file):
    store = LedgerStore(file)
    yield store
    store.close()


def test_what_was_committed_is_loaded_again(store, file):
    progress = {"r1": Progress(7), "r2": Progress(9, closed=True)}

    store.commit(Changes({"a@lifetime": POT}, progress, []))

    with closing(LedgerStore(file)) as other:
        assert other.load() == Books({"a@lifetime": POT}, {"r1": Progress(7)})
        assert other.read([], ["r2"]) == Books({}, {"r2": Progress(9, closed=True)})


def test_a_window_that_is_over_is_loaded_where_something_is_on_lease(store):
    pots = {"a@2026-11-01": Pot(5), "a@2026-11-02": POT, "a@2026-11-23": Pot(6)}
    store.commit(Changes(pots, {}, []))

    assert store.load(NOW).pots.keys() == {"a@2026-11-02", "a@2026-11-23"}
    assert store.read(["a@2026-11-01"]).pots == {"a@2026-11-01": Pot(5)}
    assert store.read([], holders=["r1"]).pots == {"a@2026-11-02": POT}


def test_a_lease_that_ended_is_not_loaded_again(store):
    store.commit(Changes({"a@lifetime": POT}, {}, []))

    store.commit(Changes({"a@lifetime": Pot(30, 70, {"r1": Lease(90, 20)})}, {}, []))

    assert set(store.load().pots["a@lifetime"].leases) == {"r1"}


def test_a_commit_is_whole_or_nothing(store):
    twice = [("r1", settlement("q/0")), ("r2", settlement("q/0"))]

    with pytest.raises(sqlite3.IntegrityError):
        store.commit(Changes({"a@lifetime": POT}, {}, twice))

    assert store.load() == Books()
    assert store.posted(["q/0"]) == set()


def test_many_ids_are_looked_up(store):
    store.commit(Changes({}, {}, [("r1", settlement(f"q{n}/0")) for n in range(0, 1_200, 2)]))

    found = store.posted([f"q{n}/0" for n in range(1_200)])

    assert found == {f"q{n}/0" for n in range(0, 1_200, 2)}


def test_a_request_s_postings_are_told_attempt_by_attempt_and_no_other_s(store):
    names = ["q1/0", "q1/1", "q10/0", "q/0"]
    store.commit(Changes({}, {}, [("r1", settlement(name)) for name in names]))

    told = store.postings("q1")

    assert [row["id"] for row in told] == ["q1/0", "q1/1"]
    assert told[0]["buckets"] == "a@lifetime org@2026-11"
    tokens = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
    assert [told[0][name] for name in tokens] == [3, 4, 1, 2]
    assert told[0]["cache_write_tokens"] == 1


def test_a_second_writer_supersedes_the_first(store, file):
    second = LedgerStore(file)

    with pytest.raises(Superseded):
        store.commit(Changes({"a@lifetime": POT}, {}, []))

    assert second.load() == Books()
    second.close()


def test_a_file_of_the_first_version_keeps_its_books(file):
    with closing(sqlite3.connect(file)) as db:
        db.executescript(module._SCHEMAS[0])
        db.executescript("""
            INSERT INTO buckets VALUES ('a@lifetime', 30);
            INSERT INTO leases VALUES ('r1', 'a@lifetime', 90, 20);
            INSERT INTO replicas VALUES ('r1', 7, 12, 0);
            INSERT INTO postings VALUES
                ('q/0', 'a@lifetime', 'settled', 20, 10, 'p', 'm', 3, 4, 1, 0, 1.0, 2.0, 'r1');
            PRAGMA user_version = 1;
        """)

    with closing(LedgerStore(file)) as store:
        assert store.load() == Books(
            {"a@lifetime": Pot(30, 70, {"r1": Lease(90, 20)})}, {"r1": Progress(7)}
        )
        (row,) = store.postings("q")
    assert (row["cost"], row["replica"], row["reasoning_tokens"]) == (10, "r1", 0)
    assert (row["refunded"], row["overage"]) == (10, 0)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT * FROM payees").fetchall() == [("p/m", 10)]


def test_an_alert_waits_until_it_was_delivered_and_is_not_stored_twice(store, file):
    half = Alert("a@lifetime", "a", "usd", 50, 50, 100, 1.0)
    most = Alert("a@lifetime", "a", "usd", 90, 95, 100, 2.0)
    store.commit(Changes({}, {}, [], [half, most]))
    store.mark_delivered(half)

    store.commit(Changes({}, {}, [], [replace(half, spent=51)]))

    with closing(LedgerStore(file)) as other:
        assert other.alerts() == [half, most]
        assert other.alerts(undelivered=True) == [most]
