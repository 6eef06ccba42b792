"""The ledger that one writes first: a row per request, and a conditional update of its account.

It keeps a hard limit, on two levels, and loses nothing that it acknowledged: the update of the
account is refused above the limit, in the transaction that inserts the request's row. Each grant
is a transaction, and so is each settlement; every one is on disk when it returns.
"""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks.system import free_port

_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_CONNECTIONS = 16

SCHEMA = """
    CREATE TABLE accounts (id TEXT PRIMARY KEY, lim BIGINT NOT NULL, used BIGINT NOT NULL);
    CREATE TABLE requests (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, reserved BIGINT NOT NULL, cost BIGINT
    );
"""
TAKE = "UPDATE accounts SET used = used + {0} WHERE id = {1} AND used + {0} <= lim"
INSERT = "INSERT INTO requests VALUES ({0}, {1}, {2}, NULL)"
SETTLE = "UPDATE requests SET cost = {0} WHERE id = {1} AND cost IS NULL"
GIVE = "UPDATE accounts SET used = used - {0} WHERE id = {1}"


T = TypeVar("T")


class NotAvailable(Exception):
    """What it needs is not on this machine."""


class Naive(Protocol):
    """A row-per-request ledger."""

    async def grant(self, request: str, path: tuple[str, ...], amount: int) -> bool:
        """Reserve on every level, or on none."""

    async def settle(self, request: str, path: tuple[str, ...], amount: int, cost: int) -> None:
        """Book what it cost and give the rest back."""


class OnSqlite:
    """WAL, `synchronous=FULL`, one writer: as Compass's own file."""

    def __init__(self, file: Path, limits: Mapping[str, int]) -> None:
        self._disk = ThreadPoolExecutor(1)
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(SCHEMA)
        self._db.executemany("INSERT INTO accounts VALUES (?, ?, 0)", limits.items())

    async def grant(self, request: str, path: tuple[str, ...], amount: int) -> bool:
        """Reserve on every level, or on none."""
        return await self._run(partial(self._grant, request, path, amount))

    async def settle(self, request: str, path: tuple[str, ...], amount: int, cost: int) -> None:
        """Book what it cost and give the rest back."""
        await self._run(partial(self._settle, request, path, amount, cost))

    def close(self) -> None:
        """Close the file."""
        self._disk.shutdown()
        self._db.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def _grant(self, request: str, path: tuple[str, ...], amount: int) -> bool:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        for account in path:
            taken = db.execute(TAKE.format("?1", "?2"), (amount, account)).rowcount
            if not taken:
                db.execute("ROLLBACK")
                return False
        db.execute(INSERT.format("?", "?", "?"), (request, path[0], amount))
        db.execute("COMMIT")
        return True

    def _settle(self, request: str, path: tuple[str, ...], amount: int, cost: int) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        db.execute(SETTLE.format("?", "?"), (cost, request))
        for account in path:
            db.execute(GIVE.format("?", "?"), (amount - cost, account))
        db.execute("COMMIT")


class OnPostgres:
    """Sixteen connections, `synchronous_commit=on`, prepared statements."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def grant(self, request: str, path: tuple[str, ...], amount: int) -> bool:
        """Reserve on every level, or on none."""
        async with self._pool.acquire() as db:
            transaction = db.transaction()
            await transaction.start()
            for account in path:
                if await db.execute(TAKE.format("$1::bigint", "$2"), amount, account) != "UPDATE 1":
                    await transaction.rollback()
                    return False
            await db.execute(INSERT.format("$1", "$2", "$3"), request, path[0], amount)
            await transaction.commit()
            return True

    async def settle(self, request: str, path: tuple[str, ...], amount: int, cost: int) -> None:
        """Book what it cost and give the rest back."""
        async with self._pool.acquire() as db, db.transaction():
            await db.execute(SETTLE.format("$1", "$2"), cost, request)
            for account in path:
                await db.execute(GIVE.format("$1", "$2"), amount - cost, account)


@contextlib.asynccontextmanager
async def on_postgres(port: int, limits: Mapping[str, int]) -> AsyncIterator[OnPostgres]:
    """Open a fresh ledger on the server at `port`."""
    import asyncpg  # noqa: PLC0415  # only where there is a server to connect to

    where = {"host": "127.0.0.1", "port": port, "user": "postgres", "database": "postgres"}
    async with asyncpg.create_pool(**where, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool:
        await pool.execute("DROP TABLE IF EXISTS accounts, requests")
        await pool.execute(SCHEMA)
        await pool.executemany("INSERT INTO accounts VALUES ($1, $2, 0)", list(limits.items()))
        yield OnPostgres(pool)


@contextlib.contextmanager
def postgres() -> Iterator[int]:
    """Run a PostgreSQL of one's own; yield its port.

    Raises:
        NotAvailable
    """
    if not _POSTGRES:
        raise NotAvailable("PostgreSQL is not installed: apt install postgresql")
    try:
        import asyncpg  # noqa: F401, PLC0415
    except ImportError as exc:
        raise NotAvailable("asyncpg is not installed: uv pip install --group bench") from exc
    programs, port = _POSTGRES[-1], free_port()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_owner:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    subprocess.run(
        [*as_owner, programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    server = subprocess.Popen(
        [*as_owner, programs / "postgres", "-D", data, "-p", str(port), *options],
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        _wait_ready(programs, port)
        yield port
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_ready(programs: Path, port: int) -> None:
    deadline = time.monotonic() + 30
    asked = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
    while subprocess.run(asked, check=False).returncode:
        if time.monotonic() > deadline:
            raise NotAvailable("PostgreSQL did not start")
        time.sleep(0.1)
