"""Grants per second, and what a grant costs far from the limit and near it.

    python -m benchmarks.ledger [--seconds 3] [--markdown ledger.md]

Compass: three wallets that lease slices from one Ledger, all on one event loop, with journals and
the Ledger's SQLite file on this disk. Against it the ledger that one writes first, a row per
request, on SQLite and on PostgreSQL (`naive_ledger.py`). A grant sets money aside on two levels,
and is settled when it was given.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.figures import percentile
from benchmarks.naive_ledger import Naive, NotAvailable, OnSqlite, on_postgres, postgres
from compass_ray.actors.ledger import LedgerActor
from compass_ray.gateway.wallet import Wallet
from compass_ray.storage.audit import audit
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.errors import BudgetExceeded
from compass_ray.types.events import Amounts
from compass_ray.types.usage import Usage

AMOUNT, COST = 400, 300
PATH = ("team", "org")
PLENTY = 10**15
LEFT = 2_000
"""Requests for which there is money near the limit, of twice as many that ask."""
CALLERS = 64
REPLICAS = 3
USAGE = Usage(10, 20)

Request = Callable[[int], Awaitable[bool]]
"""Grants and settles one request; False where it was refused."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one ledger at one distance from the limit; times in microseconds, with 64 callers."""

    per_second: float
    p50: float
    p99: float
    granted: int
    alone: float
    """Microseconds of one caller who waits for each."""


async def far(request: Request, seconds: float) -> Figures:
    """Ask as fast as possible for so long, with money for everything."""
    alone, number = [], 0
    until = time.perf_counter() + seconds / 3
    while time.perf_counter() < until:
        number += 1
        alone.append(await _timed(request, -number))
    samples: list[float] = []
    began, until = time.perf_counter(), time.perf_counter() + seconds

    async def caller(first: int) -> None:
        number = first
        while time.perf_counter() < until:
            samples.append(await _timed(request, number))
            number += CALLERS
            if number % (32 * CALLERS) < CALLERS:
                await asyncio.sleep(0)  # others want to run too: a local grant never waits

    await asyncio.gather(*(caller(n) for n in range(CALLERS)))
    passed = time.perf_counter() - began
    return _figures(samples, len(samples), passed, median(alone))


async def near(request: Request) -> Figures:
    """Let twice as many ask as there is money for; only the granted count."""
    numbers = iter(range(2 * LEFT))
    samples: list[float] = []
    last = began = time.perf_counter()

    async def caller() -> None:
        nonlocal last
        for number in numbers:
            start = time.perf_counter()
            if await request(number):
                last = time.perf_counter()
                samples.append(last - start)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return _figures(samples, len(samples), last - began, float("nan"))


async def _timed(request: Request, number: int) -> float:
    start = time.perf_counter()
    if not await request(number):
        raise RuntimeError("refused with money for everything")
    return time.perf_counter() - start


def _figures(samples: list[float], granted: int, passed: float, alone: float) -> Figures:
    p50, p99 = percentile(samples, 0.5), percentile(samples, 0.99)
    return Figures(granted / passed, 1e6 * p50, 1e6 * p99, granted, 1e6 * alone)


@contextlib.asynccontextmanager
async def compass(folder: Path, limit: int) -> AsyncIterator[Request]:
    """Three replicas' wallets and their Ledger; checked by the audit at the end."""
    accounts = {
        "org": Account("org", None, (Limit(PLENTY),)),
        "team": Account("team", "org", (Limit(limit),)),
    }
    file = folder / "ledger.db"
    ledger = LedgerActor(file, accounts)
    wallets = [Wallet(ledger, f"r{n}", accounts, folder) for n in range(REPLICAS)]
    running = [asyncio.create_task(wallet.run()) for wallet in wallets]

    async def request(number: int) -> bool:
        wallet = wallets[number % REPLICAS]
        try:
            hold = await wallet.hold(f"q{number}/0", "team", "p", Amounts(AMOUNT), time.time())
        except BudgetExceeded:
            return False
        hold.settle(COST if limit == PLENTY else AMOUNT, USAGE, "p", "m", time.time())
        return True

    yield request
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for wallet in wallets:
        await wallet.close()
    if mistakes := audit(file).mistakes:
        raise RuntimeError("; ".join(mistakes))


def naive(ledger: Naive, limit: int) -> Request:
    """Return the same request on a row-per-request ledger."""
    cost = COST if limit == PLENTY else AMOUNT

    async def request(number: int) -> bool:
        name = f"q{number}"
        if not await ledger.grant(name, PATH, AMOUNT):
            return False
        await ledger.settle(name, PATH, AMOUNT, cost)
        return True

    return request


async def measure(seconds: float) -> tuple[dict[str, tuple[Figures, Figures]], list[str]]:
    """Return each ledger's figures far and near, and why some are missing."""
    found: dict[str, tuple[Figures, Figures]] = {}
    missing: list[str] = []
    limits = PLENTY, LEFT * AMOUNT
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    try:
        pair = []
        for limit in limits:
            async with compass(folder / str(limit), limit) as request:
                pair.append(await (far(request, seconds) if limit == PLENTY else near(request)))
        found["Compass"] = pair[0], pair[1]
        pair = []
        for limit in limits:
            ledger = OnSqlite(folder / f"naive-{limit}.db", {"org": PLENTY, "team": limit})
            request = naive(ledger, limit)
            pair.append(await (far(request, seconds) if limit == PLENTY else near(request)))
            ledger.close()
        found["row per request, SQLite"] = pair[0], pair[1]
        try:
            found["row per request, PostgreSQL"] = await _on_postgres(seconds, limits)
        except NotAvailable as error:
            missing.append(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found, missing


async def _on_postgres(seconds: float, limits: tuple[int, int]) -> tuple[Figures, Figures]:
    with postgres() as port:
        async with on_postgres(port, {"org": PLENTY, "team": limits[0]}) as ledger:
            first = await far(naive(ledger, limits[0]), seconds)
        async with on_postgres(port, {"org": PLENTY, "team": limits[1]}) as ledger:
            return first, await near(naive(ledger, limits[1]))


def table(found: dict[str, tuple[Figures, Figures]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| ledger | far: grants/s | alone, µs | p50 / p99, µs | near: grants/s | p50 / p99, µs |",
        "|---|---|---|---|---|---|",
    ]
    for name, (away, close) in found.items():
        lines.append(
            f"| {name} | {away.per_second:,.0f} | {away.alone:,.1f} | {away.p50:,.0f} / "
            f"{away.p99:,.0f} | {close.per_second:,.0f} | {close.p50:,.0f} / {close.p99:,.0f} |"
        )
        if close.granted != LEFT:
            raise RuntimeError(f"{name} granted {close.granted} where money was for {LEFT}")
    ours, *others = found.items()
    for name, (away, close) in others:
        lines.append(
            f"| Compass against {name} | {ours[1][0].per_second / away.per_second:,.0f}x | "
            f"{away.alone / ours[1][0].alone:,.0f}x | | "
            f"{ours[1][1].per_second / close.per_second:,.0f}x | |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each ledger, far")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    told = parser.parse_args()
    found, missing = asyncio.run(measure(told.seconds))
    load = os.getloadavg()[0]
    about = (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} cores, load {load:.1f}"
    )
    text = "\n".join([table(found), "", about, *(f"left out: {reason}" for reason in missing)])
    print(text)
    if told.markdown:
        told.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
