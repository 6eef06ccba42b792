"""Money when clocks step, messages get lost, accounts vanish and figures are huge."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from compass_ray.actors.ledger import LedgerActor
from compass_ray.gateway.wallet import Patience, Wallet
from compass_ray.policy.budget import path
from compass_ray.storage.audit import audit
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.errors import BudgetExceeded, TooManyRequests
from compass_ray.types.events import Amounts
from compass_ray.types.settings import AlertSettings
from compass_ray.types.usage import Usage

QUICK = Patience(sync_every=0.01, scarce=0.1, given_back=0.3, silent=1.0, recover_every=0.05)
MIDNIGHT = datetime(2028, 3, 1, tzinfo=UTC).timestamp()  # after a leap day
NOW = time.time()
LIMIT = 10_000
ACCOUNTS = {
    "org": Account("org", None, (Limit(LIMIT),)),
    "daily": Account("daily", None, (Limit(1_000, "day"),)),
    "rich": Account("rich", None, (Limit(2**61),)),
    **{f"new{n}": Account(f"new{n}", "org", (Limit(1_000),)) for n in range(50)},
}


@pytest.fixture
def ledger(tmp_path):
    return LedgerActor(tmp_path / "ledger.db", ACCOUNTS)


@pytest.fixture
async def wallet(tmp_path, ledger):
    """Start wallets that run; `ledger` may be another."""
    running = []

    def start(name, to=None):
        wallet = Wallet(to or ledger, name, ACCOUNTS, tmp_path, QUICK)
        running.append((wallet, asyncio.create_task(wallet.run())))
        return wallet

    yield start
    for wallet, task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        wallet._journal.close(delete=False)


def settle(hold, cost, now=MIDNIGHT):
    hold.settle(cost, Usage(1, 1), "p", "m", now)


async def spent(ledger, account, now=MIDNIGHT):
    (balance, *_) = await ledger.balances(tuple(b.key for b in path(ACCOUNTS, account, now)))
    return balance.spent


async def test_the_first_requests_of_many_accounts_at_once_keep_the_limit_above_them(
    wallet, ledger
):
    three = [wallet(f"r{n}") for n in range(3)]

    async def request(n):
        hold = await three[n % 3].hold(f"q{n}/0", f"new{n % 50}", "p", Amounts(100), MIDNIGHT)
        settle(hold, 100)

    ended = await asyncio.gather(*(request(n) for n in range(200)), return_exceptions=True)
    for one in three:
        await one.sync()

    assert sum(one is None for one in ended) == LIMIT // 100
    assert all(isinstance(one, BudgetExceeded) for one in ended if one is not None)
    assert await spent(ledger, "org") == LIMIT


async def test_a_request_over_midnight_is_charged_to_the_day_it_began(wallet, ledger):
    replica = wallet("r")
    late = await replica.hold("late/0", "daily", "p", Amounts(1_000), MIDNIGHT - 1)
    early = await replica.hold("early/0", "daily", "p", Amounts(1_000), MIDNIGHT + 1)

    settle(late, 900, MIDNIGHT + 2)
    settle(early, 300, MIDNIGHT + 2)
    await replica.sync()

    assert await spent(ledger, "daily", MIDNIGHT - 1) == 900
    assert await spent(ledger, "daily", MIDNIGHT + 1) == 300


async def test_a_clock_that_steps_back_over_midnight_opens_no_day_again(wallet, ledger):
    replica = wallet("r")
    for number, now in enumerate((MIDNIGHT + 60, MIDNIGHT - 1_800)):
        settle(await replica.hold(f"q{number}/0", "daily", "p", Amounts(400), now), 400, now)
        await replica.sync()

    with pytest.raises(BudgetExceeded):
        await replica.hold("q2/0", "daily", "p", Amounts(400), MIDNIGHT - 1_799)

    assert await spent(ledger, "daily", MIDNIGHT) == 800
    assert await spent(ledger, "daily", MIDNIGHT - 1) == 0


@pytest.mark.parametrize("amount", [2**31 + 1, 2**53 + 1, 2**60 + 1])
async def test_amounts_beyond_what_a_float_holds_stay_exact(wallet, ledger, tmp_path, amount):
    replica = wallet("r")

    settle(await replica.hold("q/0", "rich", "p", Amounts(amount), MIDNIGHT), amount)
    await replica.sync()

    assert await spent(ledger, "rich") == amount
    assert (await ledger.postings("q"))[0]["cost"] == amount
    assert audit(tmp_path / "ledger.db").mistakes == ()


async def test_what_runs_for_an_account_that_is_deleted_is_booked_all_the_same(wallet, ledger):
    replica = wallet("r")
    hold = await replica.hold("q/0", "new1", "p", Amounts(500), MIDNIGHT)

    await ledger.configure(
        {name: a for name, a in ACCOUNTS.items() if name != "new1"}, AlertSettings((), None)
    )
    settle(hold, 400)
    await replica.sync()

    assert await spent(ledger, "new1") == 400
    assert await spent(ledger, "org") == 400


class Lossy:
    """A quarter of the messages never arrive, and a quarter of the answers never come back."""

    def __init__(self, ledger, seed):
        self._ledger = ledger
        self._chance = random.Random(seed)

    async def sync(self, request):
        if self._chance.random() < 0.25:
            raise ConnectionError
        reply = await self._ledger.sync(request)
        if self._chance.random() < 0.25:
            raise ConnectionError
        return reply


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_lost_messages_and_lost_answers_change_no_cent(wallet, ledger, tmp_path, seed):
    three = [wallet(f"r{n}", Lossy(ledger, f"{seed}{n}")) for n in range(3)]
    chance = random.Random(seed)
    costs = [chance.randint(0, 100) for _ in range(300)]

    async def request(n):
        hold = await three[n % 3].hold(f"q{n}/0", f"new{n % 50}", "p", Amounts(100), MIDNIGHT)
        settle(hold, costs[n])
        return costs[n]

    paid = await asyncio.gather(*(request(n) for n in range(300)), return_exceptions=True)
    async with asyncio.timeout(20):
        while any(one._unposted for one in three):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)

    booked = await spent(ledger, "org")
    assert booked == sum(cost for cost in paid if isinstance(cost, int)) <= LIMIT
    assert audit(tmp_path / "ledger.db").mistakes == ()


async def test_a_burst_of_a_thousand_keys_gets_each_its_own_minute_and_no_more(tmp_path):
    accounts = {
        f"k{n}": Account(f"k{n}", None, (Limit(2, "minute", "requests"),)) for n in range(1000)
    }
    ledger = LedgerActor(tmp_path / "rates.db", accounts)
    patient = replace(QUICK, silent=20.0)
    wallets = [Wallet(ledger, f"r{n}", accounts, tmp_path, patient) for n in range(2)]
    running = [asyncio.create_task(one.run()) for one in wallets]
    granted, waits = Counter(), []

    async def request(n, wallet):
        try:
            hold = await wallet.hold(f"q{n}/{id(wallet)}", f"k{n % 1000}", "p", Amounts(0), NOW)
        except TooManyRequests as refusal:
            waits.append(refusal.retry_after)
        else:
            granted[f"k{n % 1000}"] += 1
            settle(hold, 0, NOW)

    await asyncio.gather(*(request(n, wallet) for n in range(3000) for wallet in wallets))

    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert granted == dict.fromkeys(accounts, 2)
    assert all(0 < wait <= 61 for wait in waits)
