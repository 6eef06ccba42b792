"""A replica's journal: what it reserved and settled, in a local file, before anyone is told.

A line lands in the page cache, so `kill -9` of the process loses nothing; only losing the host
can. Each line carries a checksum: a torn last line is recognised and dropped, and so are the
zeros behind it, the room for more. The file is locked while its owner lives; a free lock means
that the owner died, and whoever takes the lock next posts what it left behind.
"""

import errno
import fcntl
import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.usage import Usage

_SUFFIX = ".journal"
_FRESH = ".new"
_CHECKSUM = 8
MAX_BYTES = 512 * 1024
"""A file that has grown so large should be rewritten."""


@dataclass(slots=True)
class Contents:
    """What a journal says: open reservations by id, and unacknowledged settlements by number."""

    reservations: dict[str, Reservation] = field(default_factory=dict)
    settlements: dict[int, Settlement] = field(default_factory=dict)


class Journal:
    """The writing side. What a call returned from survives the process, not the machine.

    The file is mapped, and its room on the disk is taken in advance: a line costs no system call,
    and a full disk is an error when room is made, never in the middle of a line.

    Raises:
        OSError: the disk is full or failing, or the file exists already; nothing was written.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.owner = owner
        self._path = folder / f"{owner}{_SUFFIX}"
        if self._path.exists():
            raise FileExistsError(f"{self._path} belongs to somebody else")
        self._open: tuple[int, mmap.mmap] | None = None
        self._size = 0
        self.rewrite(Contents())

    def reserve(self, reservation: Reservation) -> None:
        """Note that money was set aside."""
        self._append(_RESERVE, reservation)

    def settle(self, number: int, settlement: Settlement) -> None:
        """Note that a reservation has ended; numbers grow by one."""
        self._append(_SETTLE, {"number": number, **_settled(settlement)})

    def acknowledge(self, number: int) -> None:
        """Note that all settlements up to `number` are posted."""
        self._append(_ACKNOWLEDGE, {"number": number})

    @property
    def is_large(self) -> bool:
        """Return whether the file should be rewritten."""
        return self._size > MAX_BYTES

    def close(self, *, delete: bool) -> None:
        """Close the file; delete it only when nothing in it is open."""
        if delete:
            self._path.unlink(missing_ok=True)
        self._release()

    def rewrite(self, contents: Contents) -> None:
        """Reduce the file to what is still open and unacknowledged.

        The new file is locked before it gets its name, so it is never taken for an orphan.
        """
        lines = [_line(_RESERVE, r) for r in contents.reservations.values()]
        for number, settlement in contents.settlements.items():
            lines.append(_line(_RESERVE, settlement.reservation))
            lines.append(_line(_SETTLE, {"number": number, **_settled(settlement)}))
        data = b"".join(lines)
        fresh = self._path.with_suffix(_FRESH)
        fresh.unlink(missing_ok=True)
        file = _open_locked(fresh)
        try:
            room = 2 * max(MAX_BYTES, len(data))
            os.posix_fallocate(file, 0, room)
            pages = mmap.mmap(file, room)
            pages[: len(data)] = data
            fresh.replace(self._path)
        except OSError:
            os.close(file)
            fresh.unlink(missing_ok=True)
            raise
        self._release()
        self._open, self._size = (file, pages), len(data)

    def _append(self, kind: bytes, value: object) -> None:
        if self._open is None:
            raise OSError(errno.EBADF, "the journal is closed")
        file, pages = self._open
        line = _line(kind, value)
        end = self._size + len(line)
        if end > len(pages):
            os.posix_fallocate(file, 0, 2 * end)
            pages.resize(2 * end)
        pages[self._size : end] = line
        self._size = end

    def _release(self) -> None:
        if self._open is not None:
            file, pages = self._open
            self._open = None
            pages.close()
            os.close(file)


class Orphan:
    """The journal of an owner that died; holding it keeps others from taking it as well."""

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._file = file
        self.owner = path.name.removesuffix(_SUFFIX)

    def read(self) -> Contents:
        """Return what the owner left behind."""
        return read(self._path.read_bytes())

    def delete(self) -> None:
        """Forget it: everything is posted."""
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(_FRESH).unlink(missing_ok=True)

    def release(self) -> None:
        """Leave it to the next who looks."""
        os.close(self._file)


def orphans(folder: Path) -> Iterator[Orphan]:
    """Yield the journals whose owners are dead, each locked; release every one."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            file = os.open(path, os.O_RDWR)
        except OSError:
            continue  # gone, or not ours to open: whoever can will post it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            still_there = path.exists() and os.fstat(file).st_ino == path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            still_there = False
        if still_there:
            yield Orphan(path, file)
        else:
            os.close(file)


def read(data: bytes) -> Contents:
    """Return what a journal's bytes say, up to the first damaged line."""
    contents = Contents()
    known: dict[str, Reservation] = {}
    for line in data.split(b"\n")[:-1]:
        text = line[_CHECKSUM + 1 :]
        if line[: _CHECKSUM + 1] != b"%08x " % zlib.crc32(text):
            break
        kind, value = text[:1], orjson.loads(text[1:])
        if kind == _RESERVE:
            reservation = Reservation(**{**value, "buckets": tuple(value["buckets"])})
            known[reservation.id] = contents.reservations[reservation.id] = reservation
        elif kind == _SETTLE:
            reservation = known[value["id"]]
            contents.reservations.pop(reservation.id, None)
            contents.settlements[value["number"]] = _settlement(reservation, value)
        else:
            for number in [n for n in contents.settlements if n <= value["number"]]:
                known.pop(contents.settlements.pop(number).reservation.id, None)
    return contents


_RESERVE, _SETTLE, _ACKNOWLEDGE = b"r", b"s", b"a"


def _open_locked(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _line(kind: bytes, value: object) -> bytes:
    text = kind + orjson.dumps(value)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _settled(settlement: Settlement) -> dict[str, Any]:
    return {
        "id": settlement.reservation.id,
        "outcome": settlement.outcome,
        "cost": settlement.cost,
        "provider": settlement.provider,
        "model": settlement.model,
        "usage": settlement.usage,
        "at": settlement.at,
    }


def _settlement(reservation: Reservation, value: dict[str, Any]) -> Settlement:
    return Settlement(
        reservation=reservation,
        outcome=value["outcome"],
        cost=value["cost"],
        provider=value["provider"],
        model=value["model"],
        usage=Usage(**value["usage"]),
        at=value["at"],
    )
