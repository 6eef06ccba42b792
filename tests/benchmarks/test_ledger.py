"""Both sides of the ledger benchmark do the same work: they keep a limit on two levels."""

import asyncio

import pytest

from benchmarks.ledger import AMOUNT, COST, PATH, PLENTY, Figures, compass, naive, table
from benchmarks.naive_ledger import OnSqlite

ROOM = 10


@pytest.fixture
def on_sqlite(tmp_path):
    ledger = OnSqlite(tmp_path / "naive.db", {"org": PLENTY, "team": ROOM * AMOUNT})
    yield ledger
    ledger.close()


async def test_the_naive_ledger_grants_what_there_is_room_for(on_sqlite):
    request = naive(on_sqlite, ROOM * AMOUNT)

    granted = await asyncio.gather(*(request(n) for n in range(2 * ROOM)))

    assert sum(granted) == ROOM


async def test_the_naive_ledger_gives_back_what_was_not_used(on_sqlite):
    for n in range(ROOM):
        assert await on_sqlite.grant(f"q{n}", PATH, AMOUNT)
    assert not await on_sqlite.grant("full", PATH, AMOUNT)

    for n in range(ROOM):
        await on_sqlite.settle(f"q{n}", PATH, AMOUNT, COST)

    used = dict(on_sqlite._db.execute("SELECT id, used FROM accounts"))
    assert used == {"team": ROOM * COST, "org": ROOM * COST}


async def test_compass_grants_as_much_in_the_benchmark(tmp_path):
    async with compass(tmp_path, ROOM * AMOUNT) as request:
        granted = await asyncio.gather(*(request(n) for n in range(2 * ROOM)))

    assert sum(granted) == ROOM


def test_the_table_compares_with_the_first():
    fast = Figures(100.0, 1.0, 2.0, 2_000, 5.0)
    slow = Figures(10.0, 1.0, 2.0, 2_000, 50.0)

    rows = table({"Compass": (fast, fast), "other": (slow, slow)}).splitlines()

    assert rows[-1] == "| Compass against other | 10x | 10x | | 10x | |"
