"""The processes of a session: found and ended by their numbers. Linux only, by /proc.

A session (setsid) is the one group that a process cannot leave by being orphaned, by changing its
name or its environment, or by taking a process group of its own, as Ray's workers do.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"
_POLL_SECONDS = 0.05


def members(session: int) -> list[int]:
    """Return the living processes of the session that process `session` leads or led."""
    found = []
    for pid in _pids():
        try:
            # The name, in parentheses, may hold anything; the fields after it hold no parenthesis.
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we were looking
        state, its_session = fields[0], int(fields[3])
        if its_session == session and state != "Z":
            found.append(pid)
    return found


def end(session: int, grace: float) -> None:
    """End what is left of a session: ask, wait up to `grace` seconds, then kill.

    New processes that the ended ones start meanwhile are ended too.
    """
    deadline = time.monotonic() + grace
    asked: set[int] = set()
    while pids := members(session):
        late = time.monotonic() > deadline
        for pid in pids:
            if late or pid not in asked:
                _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
                asked.add(pid)
        time.sleep(_POLL_SECONDS)


def listener(port: int) -> str:
    """Return name and number of the process that listens on `port`; "" where that is hidden."""
    inodes = _listening_inodes(port)
    for pid in _pids():
        if not inodes.isdisjoint(_open_files(pid)):
            with contextlib.suppress(OSError):
                return f"{(_PROC / str(pid) / 'comm').read_text().strip()} (process {pid})"
    return ""


def _open_files(pid: int) -> set[str]:
    files: set[str] = set()
    with contextlib.suppress(OSError):  # another user's process, or it has ended
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed since it was listed
                files.add(str(descriptor.readlink()))
    return files


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdecimal()]  # noqa: PTH208  # hot


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
        os.kill(pid, number)


def _listening_inodes(port: int) -> set[str]:
    """Return the sockets that listen on `port`, written as /proc/*/fd writes them."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue  # no IPv6
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes
