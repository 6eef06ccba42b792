"""What a dead replica left: a real journal, and the plain Ledger actor on a real file."""

import asyncio

import pytest

from compass_ray.actors.ledger import LedgerActor
from compass_ray.gateway.recovery import recover
from compass_ray.storage.journal import Journal
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Sync, Wish
from compass_ray.types.usage import Usage

KEY = "team@lifetime"
PATIENCE = 2.0


@pytest.fixture
def ledger(tmp_path):
    return LedgerActor(tmp_path / "ledger.db", {"team": Account("team", None, (Limit(10_000),))})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def reservation(name, amount):
    return Reservation(name, (KEY,), amount, 1.0)


def leave_behind(folder, owner="dead"):
    """Die with one settlement that was not posted and one call that has not ended."""
    journal = Journal(folder, owner)
    ended = reservation(f"{owner}-done/0", 500)
    journal.reserve(ended)
    journal.settle(1, Settlement(ended, "settled", 300, "p", "m", Usage(1, 1), 2.0))
    journal.reserve(reservation(f"{owner}-open/0", 400))
    journal.close(delete=False)


async def books(ledger):
    (found,) = await ledger.balances((KEY,))
    return found.spent, found.leased


async def test_what_ended_is_posted_and_what_did_not_is_charged_in_full(ledger, folder):
    await ledger.sync(Sync("dead", 1, (), {KEY: Wish(0, 0, 2_000, 2_000)}))
    leave_behind(folder)

    await recover(folder, ledger.sync, 9.0, PATIENCE)

    assert await books(ledger) == (700, 0)
    (expired,) = await ledger.postings("dead-open")
    assert (expired["outcome"], expired["cost"], expired["estimated"]) == ("expired", 400, 1)
    assert list(folder.iterdir()) == []


async def test_recovering_the_same_journal_twice_posts_it_once(ledger, folder):
    leave_behind(folder)
    copy = (folder / "dead.journal").read_bytes()
    await recover(folder, ledger.sync, 9.0, PATIENCE)

    (folder / "dead.journal").write_bytes(copy)
    await recover(folder, ledger.sync, 9.0, PATIENCE)

    assert (await books(ledger))[0] == 700


async def test_two_who_look_at_once_post_it_once(ledger, folder):
    leave_behind(folder)

    await asyncio.gather(*(recover(folder, ledger.sync, 9.0, PATIENCE) for _ in range(5)))

    assert (await books(ledger))[0] == 700


async def test_what_the_ledger_did_not_take_is_there_for_the_next_round(ledger, folder):
    leave_behind(folder, "one")
    leave_behind(folder, "two")

    async def deaf_to_one(message):
        if message.replica == "one":
            raise ConnectionError
        return await ledger.sync(message)

    await recover(folder, deaf_to_one, 9.0, PATIENCE)
    after_the_first = await books(ledger)
    await recover(folder, ledger.sync, 9.0, PATIENCE)

    assert after_the_first[0] == 700
    assert (await books(ledger))[0] == 1_400


async def test_a_ledger_that_never_answers_is_waited_for_only_so_long(folder):
    leave_behind(folder)

    async def silent(_message):
        await asyncio.Event().wait()

    await recover(folder, silent, 9.0, patience=0.01)

    assert (folder / "dead.journal").exists()


async def test_the_living_are_left_alone(ledger, folder):
    journal = Journal(folder, "alive")
    journal.reserve(reservation("q/0", 500))

    await recover(folder, ledger.sync, 9.0, PATIENCE)

    assert await books(ledger) == (0, 0)
    journal.close(delete=True)
