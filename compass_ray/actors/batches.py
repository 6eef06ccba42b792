"""Batches actor: owns callers' files and every batch of requests, on one event loop.

Each batch goes on from what is on disk: after a restart, with the first message, those that are
not over are taken up, and what has ended is not asked again.
"""

import asyncio
import hashlib
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from compass_ray.actors.group_commit import GroupCommit, OneThread
from compass_ray.gateway.batch import BatchRun, Gateway
from compass_ray.policy import batches as policy
from compass_ray.storage.batches import BatchStore
from compass_ray.types.batches import (
    Batch,
    Changes,
    Counts,
    Line,
    LineError,
    Outcome,
    Page,
    Purpose,
    Status,
    StoredFile,
)
from compass_ray.types.settings import BatchSettings

_log = logging.getLogger("compass.batches")

_MAX_GROUP = 256
_AT_A_TIME = 200
"""Lines that are read, or written, in one go: others have their turn between."""
_TIDY_SECONDS = 600.0


class BatchesActor:
    """The files and batches of one state folder; `gateway` answers. `wall` is Unix seconds."""

    def __init__(
        self,
        file: Path,
        folder: Path,
        gateway: Gateway,
        settings: BatchSettings,
        *,
        wall: Callable[[], float] = time.time,
        fail: Callable[[int], object] = os._exit,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._store = BatchStore(file, folder)
        self._disk = OneThread("batches")
        self._gateway = gateway
        self._settings = settings
        self._places = asyncio.Semaphore(settings.parallel)
        self._wall = wall
        self._fail = fail
        self._uniform = uniform
        self._batches: dict[str, Batch] = {}
        """Those that are not over."""
        self._runs: dict[str, BatchRun] = {}
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._group = GroupCommit[Changes, None](self._commit, self._end, _MAX_GROUP)
        self._moving = asyncio.Lock()
        self._resumed: asyncio.Task[None] | None = None
        self._tidied_at = 0.0

    async def configure(self, settings: BatchSettings) -> None:
        """Go by other bounds from the next batch on; how many requests are under way, at once."""
        self._settings = settings
        self._places = asyncio.Semaphore(settings.parallel)

    async def tend(self) -> None:
        """Take up what is not over, and delete what is old; to be called now and then."""
        await self._resume()
        now = self._wall()
        if now - self._tidied_at > _TIDY_SECONDS:
            self._tidied_at = now
            await self._take_up_all()  # what a full disk has stopped
            old = partial(self._store.forget_older, now, self._settings.keep_seconds)
            await self._disk.run(old)

    async def write(self, name: str, offset: int, piece: bytes) -> None:
        """Take a piece of a file that is being uploaded; safe to repeat."""
        await self._disk.run(partial(self._store.write, name, offset, piece))

    async def discard(self, name: str) -> None:
        """Forget a file whose upload has broken off."""
        await self._disk.run(partial(self._store.discard, name))

    async def keep(self, file: StoredFile) -> bool:
        """Keep a file that was uploaded; False where its account has no room for it."""
        return await self._disk.run(partial(self._keep_file, file))

    async def file(self, name: str, account: str) -> StoredFile | None:
        """Return an account's file."""
        found = await self._disk.run(partial(self._store.file, name))
        return found if found is not None and found.account == account else None

    async def files(self, account: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        """Return an account's files."""
        return await self._disk.run(partial(self._store.files, account, purpose, page))

    async def read(self, name: str, account: str, offset: int, size: int) -> bytes | None:
        """Return a piece of an account's file, empty at its end; None where there is none."""
        if await self.file(name, account) is None:
            return None
        return await self._disk.run(partial(self._piece, name, offset, size))

    async def delete(self, name: str, account: str) -> bool | None:
        """Delete an account's file; False where a batch reads it, None where there is none."""
        if await self.file(name, account) is None:
            return None
        return await self._disk.run(partial(self._delete, name))

    async def create(self, batch: Batch) -> Batch:
        """Begin a batch, once per id; it is on disk. Return the one that came first."""
        await self._resume()
        known = self._batches.get(batch.id) or await self._stored(batch.id)
        if known is None:
            self._batches[batch.id] = batch
            await self._group.post(Changes(batch))
            self._take_up(batch)
        return known or batch

    async def batch(self, name: str, account: str) -> Batch | None:
        """Return where an account's batch stands."""
        await self._resume()
        found = self._batches.get(name) or await self._stored(name)
        return found if found is not None and found.caller.account == account else None

    async def batches(self, account: str, page: Page) -> list[Batch]:
        """Return an account's batches."""
        await self._resume()
        found = await self._disk.run(partial(self._store.batches, account, page))
        return [self._batches.get(one.id, one) for one in found]

    async def cancel(self, name: str, account: str) -> Batch | None:
        """Begin no further request of a batch, where it is not over; return where it stands."""
        found = await self.batch(name, account)
        if found is not None and name in self._batches:
            found = await self._move(name, "cancelling")
            if name in self._runs:
                self._runs[name].stop()
        return found

    async def _resume(self) -> None:
        """Take up all batches that are not over, once in this process."""
        if self._resumed is None:
            self._resumed = asyncio.create_task(self._take_up_all())
        await asyncio.shield(self._resumed)

    async def _take_up_all(self) -> None:
        for name in await self._disk.run(self._store.unfinished):
            batch = await self._stored(name)
            if batch is not None and name not in self._batches:
                ended = await self._disk.run(partial(self._store.ended, name))
                self._batches[name] = policy.recounted(batch, ended)
                self._take_up(self._batches[name])
                _log.warning("%s goes on after a restart", name)

    async def _stored(self, name: str) -> Batch | None:
        return await self._disk.run(partial(self._store.batch, name))

    def _take_up(self, batch: Batch) -> None:
        driving = self._driving[batch.id] = asyncio.create_task(self._drive(batch.id))
        driving.add_done_callback(partial(self._over, batch.id))

    def _over(self, name: str, driven: asyncio.Task[None]) -> None:
        """Let go of a batch; one that stopped before its end is taken up by a new process."""
        del self._driving[name]
        self._runs.pop(name, None)
        self._batches.pop(name, None)
        if not driven.cancelled() and (error := driven.exception()) is not None:
            _log.error("%s stopped: %s", name, type(error).__name__, exc_info=error)

    async def _drive(self, name: str) -> None:
        """Go on until a batch is over, from wherever it stands."""
        if not self._batches[name].counts.total:
            await self._validate(name)
        if self._batches[name].status == "in_progress":
            await self._ask(name)
        end = policy.end_of(self._batches[name], self._wall())
        if end != "failed":
            await self._move(name, "finalizing")
        files = await self._results(self._batches[name], end)
        batch = policy.with_files(self._batches[name], {k: f.id for k, f in files.items()})
        batch = policy.moved(batch, end, self._wall())
        await self._disk.run(partial(self._store.finish, batch, files.values()))

    async def _validate(self, name: str) -> None:
        reading = partial(self._read_through, self._batches[name], self._settings.max_requests)
        total, errors = await asyncio.to_thread(reading)
        if errors:
            await self._move(name, "validating", errors=errors)
        else:
            await self._move(name, "in_progress", counts=Counts(total))

    def _read_through(self, batch: Batch, most: int) -> tuple[int, tuple[LineError, ...]]:
        try:
            with self._store.open(batch.input_file) as content:
                return policy.checked(_numbered(content), batch.endpoint, most)
        except FileNotFoundError:
            return 0, (LineError("input_file_missing", "the input file was deleted"),)

    async def _ask(self, name: str) -> None:
        batch = self._batches[name]
        run = self._runs[name] = BatchRun(
            batch,
            gateway=self._gateway,
            places=self._places,
            keep=partial(self._note, name),
            wall=self._wall,
            uniform=self._uniform,
        )
        ended = await self._disk.run(partial(self._store.ended, name))
        heard = frozenset(one.number for one in ended)
        async with aclosing(self._lines(batch, heard)) as lines:
            await run.ask_all(lines)

    async def _lines(self, batch: Batch, but: frozenset[int]) -> AsyncGenerator[Line]:
        """Yield the requests of a batch whose input file is sound, without some of them."""
        with self._store.open(batch.input_file) as content:
            numbered = _numbered(content)
            while some := await asyncio.to_thread(_next, numbered):
                for number, raw in some:
                    if number not in but:
                        line = policy.read_line(number, raw, batch.endpoint)
                        if isinstance(line, Line):
                            yield line

    async def _note(self, name: str, outcome: Outcome) -> None:
        """Put the end of a request on disk, and count it."""
        await self._group.post(Changes(outcomes=((name, outcome),)))
        self._batches[name] = policy.counted(self._batches[name], (outcome,))

    async def _results(self, batch: Batch, end: Status) -> dict[str, StoredFile]:
        """Write the result files of a batch whose requests have ended; return them by kind."""
        files = {kind: _ResultFile(batch, kind, self._store.write) for kind in ("output", "error")}
        heard: set[int] = set()
        after = 0
        while some := await self._disk.run(
            partial(self._store.outcomes, batch.id, after, _AT_A_TIME)
        ):
            for one in some:
                files["output" if one.ok else "error"].add(one.written)
            heard.update(one.number for one in some)
            after = some[-1].number
            await self._disk.run(partial(_flush, files.values()))
        if end in {"expired", "cancelled"}:
            async with aclosing(self._lines(batch, frozenset(heard))) as lines:
                async for line in lines:
                    files["error"].add(policy.unheard(batch, line, end))
        await self._disk.run(partial(_flush, files.values()))
        now = self._wall()
        return {kind: file.whole(now) for kind, file in files.items() if file.size}

    async def _move(self, name: str, status: Status, **changes: Any) -> Batch:
        """Change a batch, and its status if that may follow; return it once it is on disk."""
        async with self._moving:
            now = self._wall()
            await self._group.post(
                Changes(policy.moved(self._batches[name], status, now, **changes))
            )
            # Meanwhile more may have been counted.
            moved = self._batches[name] = policy.moved(self._batches[name], status, now, **changes)
        return moved

    def _keep_file(self, file: StoredFile) -> bool:
        if self._store.bytes_of(file.account) + file.size > self._settings.max_stored_bytes:
            self._store.discard(file.id)
            return False
        self._store.keep(file)
        return True

    def _piece(self, name: str, offset: int, size: int) -> bytes:
        with self._store.open(name) as content:
            content.seek(offset)
            return content.read(size)

    def _delete(self, name: str) -> bool:
        if self._store.is_in_use(name):
            return False
        self._store.delete(name)
        return True

    async def _commit(self, changes: Sequence[Changes]) -> list[None]:
        await self._disk.run(partial(self._store.commit, changes))
        return [None] * len(changes)

    def _end(self) -> None:
        _log.exception("the batches cannot be written and the actor ends")
        self._fail(1)


class _ResultFile:
    """A result file of a batch on its way to the disk; `add` keeps in memory until `flush`."""

    def __init__(self, batch: Batch, kind: str, write: Callable[[str, int, bytes], None]) -> None:
        self._batch = batch
        self._kind = kind
        self._write = write
        # The same after a crash: what was begun is written anew, not beside it.
        told = hashlib.sha256(f"{batch.id}/{kind}".encode()).hexdigest()
        self._id = f"file-{told[:24]}"
        self._buffer = bytearray()
        self._flushed = 0

    @property
    def size(self) -> int:
        """Return its bytes so far."""
        return self._flushed + len(self._buffer)

    def add(self, line: bytes) -> None:
        """Add a line."""
        self._buffer += line + b"\n"

    def flush(self) -> None:
        """Write what is in memory."""
        if self._buffer:
            self._write(self._id, self._flushed, bytes(self._buffer))
            self._flushed += len(self._buffer)
            self._buffer.clear()

    def whole(self, now: float) -> StoredFile:
        """Return the file, whose content is written."""
        batch = self._batch
        name = f"{batch.id}_{self._kind}.jsonl"
        expires_at = now + batch.keep_output
        account = batch.caller.account
        return StoredFile(self._id, account, name, "batch_output", self.size, now, expires_at)


def _numbered(content: BinaryIO) -> Iterator[tuple[int, bytes]]:
    return ((number, raw) for number, raw in enumerate(content, 1) if raw.strip())


def _next(lines: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return list(islice(lines, _AT_A_TIME))


def _flush(files: Iterable[_ResultFile]) -> None:
    for file in files:
        file.flush()
