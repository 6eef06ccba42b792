"""CPU time and memory of processes, from /proc. Linux only."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (10^6): `rss` with and `uss` without what is shared with other processes."""

    rss: float
    uss: float
    pss: float
    """Shared pages divided among their users: the one that may be summed."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return user and system time that the living ones of `pids` have used so far.

    The resolution is one clock tick, usually 10 ms.
    """
    ticks = 0
    for pid in pids:
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def busy_seconds() -> float:
    """Return the time that all processors together have worked since the machine started."""
    ticks = [int(field) for field in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, *interrupts_and_stolen = ticks
    return (user + nice + system + sum(interrupts_and_stolen)) / _TICKS


def memory(pid: int) -> Memory:
    """Return the memory of one process.

    Raises:
        OSError: there is no such process, or it is another user's.
    """
    kilobytes: dict[str, int] = {}
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, value, _ = line.split()
        kilobytes[name.rstrip(":")] = int(value)
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return Memory(
        rss=kilobytes["Rss"] * 1024 / 1e6,
        uss=private * 1024 / 1e6,
        pss=kilobytes["Pss"] * 1024 / 1e6,
    )


def total_pss(pids: Iterable[int]) -> float:
    """Return the memory of several processes together, in megabytes."""
    total = 0.0
    for pid in pids:
        try:
            total += memory(pid).pss
        except OSError:
            continue  # it ended
    return total


def title(pid: int) -> str:
    """Return the command line of a process; "" when it ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def find(word: str) -> list[int]:
    """Return the processes whose command line has `word` in it."""
    return [
        int(entry.name)
        for entry in _PROC.iterdir()
        if entry.name.isdecimal() and word in title(int(entry.name))
    ]
