"""Wallets against the plain Ledger actor on a real SQLite file, all in one event loop."""

import asyncio
import contextlib
import random
import time
from dataclasses import replace

import pytest

from compass_ray.actors.ledger import LedgerActor
from compass_ray.gateway.wallet import Patience, Wallet
from compass_ray.policy.budget import path
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.errors import (
    BudgetExceeded,
    LedgerUnavailable,
    QuotaExhausted,
    RateLimited,
    TooManyRequests,
)
from compass_ray.types.events import Amounts
from compass_ray.types.usage import Usage

NOW = time.time()
ACCOUNTS = {
    "org": Account("org", None, (Limit(1_000_000),)),
    "team": Account("team", "org", (Limit(666_000, "month"),)),
    "free": Account("free"),
}
QUICK = Patience(sync_every=0.01, silent=0.3, recover_every=0.05, close=2.0)
STEADY = replace(QUICK, silent=20.0)
"""For what a slow disk must not decide."""


@pytest.fixture
def ledger(tmp_path):
    return LedgerActor(tmp_path / "ledger.db", ACCOUNTS)


@pytest.fixture
async def wallets(tmp_path, ledger):
    """Start wallets that run; each returned wallet can be killed."""
    running = {}

    def start(name, to=ledger, patience=QUICK):
        wallet = Wallet(to, name, ACCOUNTS, tmp_path, patience)
        running[name] = asyncio.create_task(wallet.run()), wallet
        return wallet

    async def kill(name):
        task, wallet = running.pop(name)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        wallet._journal.close(delete=False)

    start.kill = kill
    yield start
    for name in list(running):
        await kill(name)


async def spent(ledger):
    buckets = {b.key for a in ACCOUNTS for b in path(ACCOUNTS, a, NOW)}
    balances = await ledger.balances(tuple(buckets))
    books = {b.bucket.partition("@")[0]: (b.spent, b.leased) for b in balances}
    return {account: book for account, book in books.items() if any(book)}


def settle(hold, cost):
    hold.settle(cost, Usage(1, 1), "p", "m", NOW)


async def test_a_cost_reaches_every_level_of_the_path(wallets, ledger):
    wallet = wallets("r1")

    hold = await wallet.hold("q/0", "team", "p", Amounts(500), NOW)
    settle(hold, 300)
    await wallet.close()

    assert await spent(ledger) == {"org": (300, 0), "team": (300, 0)}
    (posting,) = await ledger.postings("q")
    assert posting["cost"] == 300
    assert posting["reserved"] == 500
    await_closed(wallet)


def await_closed(wallet):
    wallet._journal.close = lambda **_: None  # the fixture must not close it twice


async def test_a_hold_ends_once(wallets, ledger):
    wallet = wallets("r1")
    hold = await wallet.hold("q/0", "team", "p", Amounts(500), NOW)

    settle(hold, 300)
    settle(hold, 300)
    hold.void(NOW)
    await wallet.sync()

    assert (await spent(ledger))["team"][0] == 300


async def test_a_void_charges_nothing_and_is_recorded(wallets, ledger):
    wallet = wallets("r1")

    (await wallet.hold("q/0", "team", "p", Amounts(500), NOW)).void(NOW)
    await wallet.sync()

    assert "team" not in await spent(ledger) or (await spent(ledger))["team"][0] == 0
    assert (await ledger.postings("q"))[0]["outcome"] == "voided"


async def test_an_account_without_a_budget_is_booked_all_the_same(wallets, ledger):
    wallet = wallets("r1")

    settle(await wallet.hold("q/0", "free", "p", Amounts(10**15), NOW), 5)
    await wallet.sync()

    assert wallet.remaining("free", NOW) is None
    assert (await spent(ledger))["free"] == (5, 0)


async def test_an_overdraft_is_charged_in_full_and_stops_the_next(wallets, ledger):
    wallet = wallets("r1")
    settle(await wallet.hold("q/0", "team", "p", Amounts(500_000), NOW), 700_000)

    with pytest.raises(BudgetExceeded) as refusal:
        await wallet.hold("q/1", "team", "p", Amounts(1), NOW)

    assert refusal.value.account == "team"
    assert refusal.value.resets_at > NOW
    assert (await spent(ledger))["team"][0] == 700_000


async def test_of_a_thousand_equal_requests_over_three_replicas_exactly_those_that_fit_are_granted(
    wallets, ledger
):
    three = [wallets(f"r{n}", patience=STEADY) for n in range(3)]

    async def request(n):
        hold = await three[n % 3].hold(f"q{n}/0", "team", "p", Amounts(1_000), NOW)
        await asyncio.sleep(0)
        settle(hold, 1_000)

    results = await asyncio.gather(*(request(n) for n in range(1_000)), return_exceptions=True)

    granted = [result for result in results if result is None]
    assert len(granted) == 666
    assert all(isinstance(r, BudgetExceeded) for r in results if r is not None)
    for wallet in three:
        await wallet.sync()
    assert (await spent(ledger))["team"][0] == 666_000


class Slow:
    """A Ledger far away: every message and every answer takes a while."""

    def __init__(self, ledger, seconds):
        self._ledger = ledger
        self._chance = random.Random(1)
        self._seconds = seconds

    async def sync(self, request):
        await asyncio.sleep(self._seconds * self._chance.random())
        reply = await self._ledger.sync(request)
        await asyncio.sleep(self._seconds * self._chance.random())
        return reply


async def test_a_slow_ledger_makes_nobody_wait_in_vain_whose_money_is_there(tmp_path, ledger):
    hurried = Patience(sync_every=0.01, scarce=0.02, given_back=2.0, silent=2.0)
    three = [Wallet(Slow(ledger, 0.1), f"r{n}", ACCOUNTS, tmp_path, hurried) for n in range(3)]
    running = [asyncio.create_task(wallet.run()) for wallet in three]
    chance = random.Random(2)

    async def request(n):
        await asyncio.sleep(0.3 * chance.random())
        settle(await three[n % 3].hold(f"q{n}/0", "team", "p", Amounts(1_000), NOW), 1_000)

    results = await asyncio.gather(*(request(n) for n in range(666)), return_exceptions=True)
    for task in running:
        task.cancel()

    assert [result for result in results if result is not None] == []


async def test_a_ledger_that_falls_silent_while_a_hold_waits_is_not_waited_for(wallets, ledger):
    class Fading:
        asked = 0

        async def sync(self, request):
            self.asked += 1
            if self.asked > 3:
                raise ConnectionError
            reply = await ledger.sync(request)
            promised = {"granted": 0, "more_may_come": True}
            grants = {key: replace(g, **promised) for key, g in reply.grants.items()}
            return replace(reply, grants=grants)

    with pytest.raises(LedgerUnavailable):
        await wallets("r1", Fading()).hold("q/0", "team", "p", Amounts(1_000), NOW)


async def test_a_slice_that_another_replica_does_not_use_is_given_back(wallets):
    idle, busy = wallets("r1"), wallets("r2")
    settle(await idle.hold("a/0", "team", "p", Amounts(100_000), NOW), 0)
    await idle.sync()  # now holds a slice in advance

    hold = await busy.hold("b/0", "team", "p", Amounts(666_000), NOW)

    assert hold.reservation.amount == 666_000


async def test_while_the_ledger_is_silent_the_slice_is_used_up_and_no_more(wallets, tmp_path):
    class Silent:
        def __init__(self):
            self.ledger = LedgerActor(tmp_path / "other.db", ACCOUNTS)
            self.down = False

        async def sync(self, request):
            if self.down:
                raise ConnectionError
            return await self.ledger.sync(request)

    ledger = Silent()
    wallet = wallets("r1", ledger)
    settle(await wallet.hold("q/0", "team", "p", Amounts(1_000), NOW), 1_000)
    await wallet.sync()
    ledger.down = True

    async def spend_until_refused():
        for n in range(1, 1_000):
            try:
                settle(await wallet.hold(f"q/{n}", "team", "p", Amounts(1_000), NOW), 1_000)
            except LedgerUnavailable:
                return n - 1
        return None

    got = await spend_until_refused()
    ledger.down = False
    await wallet.hold("late/0", "team", "p", Amounts(1_000), NOW)

    assert 0 < got < 100


async def test_a_dead_replica_s_journal_is_found_by_the_living(wallets, ledger):
    settle(await wallets("r1").hold("done/0", "team", "p", Amounts(500), NOW), 300)
    await wallets.kill("r1")

    wallets("r2")
    async with asyncio.timeout(5):
        while "team" not in (books := await spent(ledger)) or books["team"] != (300, 0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_late_answer_grants_nothing_that_was_given_up_meanwhile(tmp_path, ledger):
    class Slow:
        def __init__(self):
            self.gate = None

        async def sync(self, request):
            reply = await ledger.sync(request)
            if self.gate is not None:
                gate, self.gate = self.gate, None
                await gate.wait()
            return reply

    slow = Slow()
    wallet = Wallet(slow, "r1", ACCOUNTS, tmp_path, QUICK)
    slice_ = wallet._slices.path("team", NOW).slices[0]
    slice_.wait_for(500)
    gate = slow.gate = asyncio.Event()
    late = asyncio.create_task(wallet.sync())
    await asyncio.sleep(0)
    slice_.stop_waiting(500)
    await wallet.sync()
    gate.set()
    await late

    assert slice_.left() == 0
    assert "team" not in await spent(ledger)
    await wallet.close()


async def test_what_ends_after_the_wallet_closed_is_left_to_the_next(tmp_path, ledger, wallets):
    wallet = Wallet(ledger, "r1", ACCOUNTS, tmp_path, QUICK)
    running = asyncio.create_task(wallet.run())
    hold = await wallet.hold("late/0", "team", "p", Amounts(500), NOW)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await wallet.close()

    settle(hold, 300)  # says so in the log; the journal is closed
    wallets("r2")
    async with asyncio.timeout(5):
        while not (posted := await ledger.postings("late")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert [(row["outcome"], row["cost"]) for row in posted] == [("expired", 500)]


async def test_two_replicas_do_not_starve_each_other_of_the_last_request(wallets, ledger):
    one, two = wallets("r1"), wallets("r2")
    settle(await one.hold("a/0", "team", "p", Amounts(666_000), NOW), 665_000)
    await one.sync()

    async def last(wallet, name):
        hold = await wallet.hold(name, "team", "p", Amounts(1_000), NOW)
        settle(hold, 1_000)

    results = await asyncio.gather(last(one, "b/0"), last(two, "c/0"), return_exceptions=True)

    assert [type(result) for result in results if result] == [BudgetExceeded]
    await asyncio.gather(one.sync(), two.sync())
    assert (await spent(ledger))["team"][0] == 666_000


async def test_closing_gives_the_leases_back_and_leaves_no_journal(tmp_path, ledger):
    wallet = Wallet(ledger, "r1", ACCOUNTS, tmp_path, QUICK)
    await wallet_hold_and_settle(wallet)

    await wallet.close()

    assert await spent(ledger) == {"org": (1, 0), "team": (1, 0)}
    assert list((tmp_path / "journal").iterdir()) == []


async def wallet_hold_and_settle(wallet):
    running = asyncio.create_task(wallet.run())
    settle(await wallet.hold("q/0", "team", "p", Amounts(1_000), NOW), 1)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_journal_that_cannot_be_written_refuses_instead_of_losing(wallets, monkeypatch):
    wallet = wallets("r1")

    def refuse(_reservation):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wallet._journal, "reserve", refuse)

    with pytest.raises(LedgerUnavailable, match="No space left"):
        await wallet.hold("q/0", "free", "p", Amounts(1), NOW)


async def test_remaining_tells_the_tightest_level(wallets):
    wallet = wallets("r1")

    hold = await wallet.hold("q/0", "team", "p", Amounts(1_000), NOW)

    assert wallet.remaining("team", NOW) == 665_000
    settle(hold, 400)
    assert wallet.remaining("team", NOW) == 665_600


def limited(*limits, provider=()):
    accounts = {"team": Account("team", None, limits)}
    if provider:
        accounts["provider:p"] = Account("provider:p", None, provider)
    return accounts


@pytest.fixture
async def wallet_of(tmp_path):
    """Start one wallet, its Ledger and its accounts."""
    tasks = []

    def start(accounts):
        ledger = LedgerActor(tmp_path / "ledger.db", accounts)
        wallet = Wallet(ledger, "r1", accounts, tmp_path, QUICK)
        tasks.append(asyncio.create_task(wallet.run()))
        return wallet

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_more_requests_than_a_minute_has_are_told_when_to_come_again(wallet_of):
    wallet = wallet_of(limited(Limit(2, "minute", "requests")))
    for n in range(2):
        settle(await wallet.hold(f"q/{n}", "team", "p", Amounts(1), NOW), 1)

    with pytest.raises(TooManyRequests) as refusal:
        await wallet.hold("q/2", "team", "p", Amounts(1), NOW)

    assert 55 < refusal.value.retry_after <= 61
    assert refusal.value.message == "account 'team' may use 2 requests a minute, and has not 1 left"


async def test_a_request_larger_than_the_whole_minute_is_not_told_to_come_again(wallet_of):
    wallet = wallet_of(limited(Limit(100, "minute", "tokens")))

    with pytest.raises(TooManyRequests) as refusal:
        await wallet.hold("q/0", "team", "p", Amounts(1, tokens=500, pace=101), NOW)

    assert refusal.value.retry_after is None
    settle(await wallet.hold("q/1", "team", "p", Amounts(1, tokens=500, pace=100), NOW), 1)


async def test_of_requests_at_once_the_next_may_begin_when_one_ends(wallet_of):
    wallet = wallet_of(limited(Limit(1, "lifetime", "parallel")))
    first = await wallet.hold("q/0", "team", "p", Amounts(1), NOW)
    with pytest.raises(TooManyRequests, match="may have 1 requests at once"):
        await wallet.hold("q/1", "team", "p", Amounts(1), NOW)

    settle(first, 1)

    settle(await wallet.hold("q/2", "team", "p", Amounts(1), NOW), 1)


async def test_a_budget_of_tokens_is_never_exceeded_and_is_charged_what_was_used(wallet_of):
    wallet = wallet_of(limited(Limit(100, "day", "tokens")))
    for n in range(3):
        hold = await wallet.hold(f"q/{n}", "team", "p", Amounts(1, tokens=50), NOW)
        hold.settle(1, Usage(20, 5), "p", "m", NOW)

    with pytest.raises(BudgetExceeded, match="of its budget of tokens"):
        await wallet.hold("q/3", "team", "p", Amounts(1, tokens=50), NOW)

    settle(await wallet.hold("q/4", "team", "p", Amounts(1, tokens=25), NOW), 1)


async def test_a_provider_s_own_limits_hold_for_all_callers(wallet_of):
    accounts = limited(provider=(Limit(1, "minute", "requests"), Limit(100, "day")))
    wallet = wallet_of(accounts)
    settle(await wallet.hold("q/0", "team", "p", Amounts(50), NOW), 50)

    with pytest.raises(RateLimited, match="provider p may use 1 requests a minute"):
        await wallet.hold("q/1", "other", "p", Amounts(1), NOW)
    settle(await wallet.hold("q/2", "other", "elsewhere", Amounts(1), NOW), 1)


async def test_a_provider_s_budget_is_never_exceeded(wallet_of):
    wallet = wallet_of(limited(provider=(Limit(100, "day"),)))
    settle(await wallet.hold("q/0", "team", "p", Amounts(60), NOW), 60)

    with pytest.raises(QuotaExhausted, match="provider p has not that much left"):
        await wallet.hold("q/1", "team", "p", Amounts(50), NOW)
    assert wallet.remaining("team", NOW) is None


async def test_what_is_used_of_the_tightest_budget_is_known(wallet_of):
    wallet = wallet_of(limited(Limit(1_000, "month"), Limit(100, "day"), Limit(5, "day", "tokens")))
    settle(await wallet.hold("q/0", "team", "p", Amounts(60), NOW), 60)

    assert wallet.used("team", NOW) == 0.6
    assert wallet.used("nobody", NOW) == 0.0


async def test_a_rate_is_not_used_while_the_ledger_is_long_silent(tmp_path):
    class Silent:
        async def sync(self, message):
            if self.speaks:
                return await ledger.sync(message)
            raise ConnectionError

    accounts = limited(Limit(100, "minute", "requests"), Limit(10**6))
    ledger, between = LedgerActor(tmp_path / "ledger.db", accounts), Silent()
    between.speaks = True
    wallet = Wallet(between, "r1", accounts, tmp_path, replace(QUICK, rates=0.05))
    task = asyncio.create_task(wallet.run())
    for n in range(5):
        settle(await wallet.hold(f"q/{n}", "team", "p", Amounts(1), NOW), 1)
    await wallet.sync()
    between.speaks = False

    async def use_it_up():
        while True:
            hold = await wallet.hold(f"r/{time.monotonic()}", "team", "p", Amounts(0), NOW)
            hold.void(NOW)
            await asyncio.sleep(0.01)

    with pytest.raises(LedgerUnavailable):
        await asyncio.wait_for(use_it_up(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
