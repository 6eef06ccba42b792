"""The Ledger actor as a plain class on a real SQLite file, and killed for real."""

import asyncio
import itertools
import pickle
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.actors.ledger import LedgerActor
from compass_ray.storage.audit import audit
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Sync, Wish
from compass_ray.types.settings import AlertSettings
from compass_ray.types.usage import Usage

ACCOUNTS = {"a": Account("a", None, (Limit(1_000),))}
KEY = "a@lifetime"


def settlement(n, cost=10):
    reservation = Reservation(f"q{n}/0", (KEY,), 20, 1.0)
    return Settlement(reservation, "settled", cost, "p", "m", Usage(3, 4), 2.0)


def sync(seq=1, first=1, costs=(), wish=None, **fields):
    settlements = tuple(settlement(first + i, cost) for i, cost in enumerate(costs))
    wishes = {} if wish is None else {KEY: Wish(0, 0, wish, wish)}
    return Sync(fields.pop("replica", "r"), seq, settlements, wishes, **fields)


@pytest.fixture
def ledger(tmp_path):
    return LedgerActor(tmp_path / "l.db", ACCOUNTS, clock=lambda: 100.0)


async def balance(ledger):
    (found,) = await ledger.balances((KEY,))
    return found.spent, found.leased


@given(st.from_type(Sync))
def test_a_message_is_on_the_other_side_what_it_was_here(message):
    there = pickle.loads(pickle.dumps(message))

    assert repr(there) == repr(message)  # not a number is no equal of itself


async def test_a_repeated_message_posts_once_and_gets_the_same_answer(ledger):
    message = sync(costs=(10, 20), wish=500)

    first = await ledger.sync(message)
    again = await ledger.sync(message)

    assert first == again
    assert await balance(ledger) == (30, 470)


async def test_a_late_wish_changes_nothing_but_its_settlements_are_posted(ledger):
    await ledger.sync(sync(seq=2, wish=100))

    late = await ledger.sync(sync(seq=1, costs=(10,), wish=900))

    assert late.grants[KEY].granted == 100
    assert await balance(ledger) == (10, 90)


async def test_a_settlement_is_posted_once_whoever_reports_it(ledger):
    await ledger.sync(sync(replica="dead", costs=(10,)))

    await ledger.sync(sync(replica="finder", costs=(10, 5)))

    assert await balance(ledger) == (15, 0)
    assert [row["replica"] for row in await ledger.postings("q1")] == ["dead"]


async def test_an_answer_means_that_its_settlements_are_on_disk(tmp_path, ledger, monkeypatch):
    commit, may_write = ledger._store.commit, threading.Event()

    def slow_after_the_first(changes):
        if changes.progress["r"].seq > 1:
            assert may_write.wait(10)
        commit(changes)

    monkeypatch.setattr(ledger._store, "commit", slow_after_the_first)
    first = asyncio.create_task(ledger.sync(sync(seq=1, costs=(10,))))
    await first
    second = asyncio.create_task(ledger.sync(sync(seq=2, first=2, costs=(10,))))
    await asyncio.sleep(0)

    assert not second.done()
    assert rows(tmp_path) == (1, 10)
    may_write.set()
    await second
    assert rows(tmp_path) == (2, 20)


def rows(folder):
    """Return how many postings another reader of the file sees, and their sum."""
    with closing(sqlite3.connect(folder / "l.db")) as db:
        return db.execute("SELECT count(*), coalesce(sum(cost), 0) FROM postings").fetchone()


async def test_grants_never_exceed_the_limit(ledger):
    one = await ledger.sync(sync(replica="x", wish=700))
    two = await ledger.sync(sync(replica="y", wish=700))

    assert one.grants[KEY].granted == 700
    assert two.grants[KEY].granted == 300
    assert two.grants[KEY].scarce


async def test_closing_frees_what_was_not_settled(ledger):
    await ledger.sync(sync(wish=700))

    await ledger.sync(sync(seq=2, costs=(100,), closing=True))

    assert await balance(ledger) == (100, 0)


async def test_a_restart_finds_everything(tmp_path, ledger):
    before = await ledger.sync(sync(costs=(10,), wish=500))
    spent = await balance(ledger)

    restarted = LedgerActor(tmp_path / "l.db", ACCOUNTS, clock=lambda: 100.0)

    assert await balance(restarted) == spent
    assert await restarted.sync(sync(costs=(10,), wish=500)) == before


async def test_a_limit_below_what_is_spent_stops_new_grants_only(ledger):
    await ledger.sync(sync(costs=(600,), wish=700))

    await ledger.configure({"a": Account("a", None, (Limit(100),))}, AlertSettings((), None))
    reply = await ledger.sync(sync(replica="other", wish=50))

    assert reply.grants[KEY].granted == 0
    assert await balance(ledger) == (600, 100)


async def test_messages_that_wait_are_written_together(ledger, monkeypatch):
    commits = []
    commit = ledger._store.commit
    monkeypatch.setattr(ledger._store, "commit", lambda c: (commits.append(c), commit(c)))

    await asyncio.gather(*(ledger.sync(sync(replica=f"r{n}", wish=1)) for n in range(100)))

    assert len(commits) <= 3


async def test_a_second_ledger_on_the_file_ends_the_first(tmp_path):
    ended = asyncio.get_running_loop().create_future()
    first = LedgerActor(tmp_path / "l.db", ACCOUNTS, fail=ended.set_result)
    await first.sync(sync(costs=(10,)))
    second = LedgerActor(tmp_path / "l.db", ACCOUNTS)

    asking = asyncio.create_task(first.sync(sync(seq=2, first=2, costs=(10,))))

    assert await ended == 1
    assert await balance(second) == (10, 0)
    asking.cancel()
    await asyncio.gather(first._group._writing, return_exceptions=True)


def test_everything_acknowledged_is_found_after_a_kill(tmp_path):
    program = textwrap.dedent(f"""
        import asyncio, pathlib, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_ledger import ACCOUNTS, LedgerActor, sync
        async def main():
            ledger = LedgerActor(pathlib.Path({str(tmp_path / "l.db")!r}), ACCOUNTS)
            for n in range(1, 10**9, 5):
                await ledger.sync(sync(seq=n, first=n, costs=(1,) * 5))
                print(n + 4, flush=True)
        asyncio.run(main())
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    acknowledged = 0
    while acknowledged < 500:
        acknowledged = int(process.stdout.readline())

    process.send_signal(signal.SIGKILL)
    for line in process.stdout:
        acknowledged = int(line) if line.endswith("\n") else acknowledged
    process.wait()
    process.stdout.close()

    ledger = LedgerActor(tmp_path / "l.db", ACCOUNTS)
    (found,) = asyncio.run(ledger.balances((KEY,)))
    assert found.spent >= acknowledged
    assert rows(tmp_path) == (found.spent, found.spent)


async def test_what_an_operator_decided_holds_after_a_restart(tmp_path, ledger):
    changed = {"a": Account("a", None, (Limit(100, "lifetime"), Limit(5, "day", "tokens")))}
    await ledger.configure(changed, AlertSettings((50,), None))

    restarted = LedgerActor(tmp_path / "l.db", ACCOUNTS, clock=lambda: 100.0)
    reply = await restarted.sync(sync(costs=(60,), wish=500))

    assert reply.grants[KEY].granted == 100
    assert [alert.percent for alert in await restarted.alerts()] == [50]


async def test_what_a_lowered_limit_has_used_up_is_told_once(tmp_path, ledger):
    async def lower(to):
        limits = {"a": Account("a", None, (Limit(to),))}
        await ledger.configure(limits, AlertSettings((50, 75), None))
        return [(alert.percent, alert.limit) for alert in await ledger.alerts()]

    await ledger.sync(sync(costs=(60,)))

    assert await lower(121) == []
    assert await lower(100) == [(50, 100)]
    assert await lower(100) == [(50, 100)]
    assert await lower(70) == [(50, 100), (75, 70)]
    assert await lower(1_000) == [(50, 100), (75, 70)]


async def test_a_limit_that_was_taken_away_binds_nobody_who_still_knows_it(ledger):
    await ledger.configure({"a": Account("a")}, AlertSettings((), None))

    reply = await ledger.sync(sync(wish=5_000))
    after = await ledger.sync(Sync("r", 2, (), {KEY: Wish(0, 0, 0, 0)}))

    assert (reply.grants[KEY].granted, after.grants[KEY].granted) == (5_000, 0)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["r1", "r2", "r3"]),
        st.sampled_from(["a@2026-11-01", "a@2026-11-02", "a@2026-11-23"]),
        st.integers(0, 300),
        st.integers(0, 600),
        st.booleans(),
    ),
    max_size=20,
)


@given(MESSAGES)
async def test_what_is_forgotten_in_between_changes_no_answer_and_no_row(messages):
    accounts = {"a": Account("a", None, (Limit(1_000, "day"),))}
    with tempfile.TemporaryDirectory() as folder:
        forgetful, faithful = Path(folder, "forgetful.db"), Path(folder, "faithful.db")
        later = itertools.count(datetime(2026, 12, 1, tzinfo=UTC).timestamp(), 86_400)
        clock = itertools.count(0, 1_000)
        ledgers = (
            LedgerActor(forgetful, accounts, clock=lambda: next(clock), wall=lambda: next(later)),
            LedgerActor(faithful, accounts, clock=lambda: 0.0, wall=lambda: 0.0),
        )
        for number, (replica, key, cost, want, closing) in enumerate(messages):
            reservation = Reservation(f"q{number}/0", (key,), cost, 1.0)
            paid = Settlement(reservation, "settled", cost, "p", "m", Usage(3, 4), 2.0)
            message = Sync(replica, number + 1, (paid,), {key: Wish(0, 0, 0, want)}, closing)

            one, other = [await ledger.sync(message) for ledger in ledgers]

            assert one.seq == other.seq
            assert {k: (g.granted, g.spent) for k, g in one.grants.items()} == {
                k: (g.granted, g.spent) for k, g in other.grants.items()
            }
        keys = ("a@2026-11-01", "a@2026-11-02", "a@2026-11-23")
        assert await ledgers[0].balances(keys) == await ledgers[1].balances(keys)
        assert len(ledgers[0]._books.pots) <= sum(
            b.leased > 0 for b in await ledgers[1].balances(keys)
        )
        assert audit(forgetful).mistakes == audit(faithful).mistakes == ()
