"""What the books, the provider and the logs say after a run."""

import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from compass_ray.storage import audit, journal

from .world import REPLICA, World

_REST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Posting:
    """One terminal record of the Ledger."""

    id: str
    outcome: str
    reserved: int
    cost: int
    input_tokens: int
    output_tokens: int
    estimated: bool

    @property
    def request_id(self) -> str:
        """Return the request whose attempt it was."""
        return self.id.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the provider saw it."""

    asked: str
    status: int | None
    input_tokens: int
    output_tokens: int
    fault: str | None
    aborted: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the checkers compare with the history."""

    postings: tuple[Posting, ...]
    calls: tuple[Call, ...]
    mistakes: tuple[str, ...]
    """What the audit of the books found."""
    leased: int
    """Micro-dollars still on lease."""
    unfinished: tuple[str, ...]
    """Reservations and settlements that some journal still holds."""
    secrets_in_logs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the cluster holds of the machine, when nothing is asked of it."""

    processes: dict[str, int]
    """How many of each of Compass's own processes."""
    replica_files: int
    """Most open files and sockets of one replica."""
    replica_kb: int
    """Most resident memory of one replica."""


def come_to_rest(world: World) -> None:
    """Wait until every settlement is posted and every lease is back."""
    deadline = time.monotonic() + _REST_SECONDS
    while time.monotonic() < deadline and (_leased(world.ledger_file) or unfinished(world.state)):
        time.sleep(0.3)


def collect(world: World, secrets: tuple[str, ...], earlier: Collection[str]) -> Evidence:
    """Read everything but the `earlier` postings."""
    return Evidence(
        postings=tuple(p for p in postings(world.ledger_file) if p.id not in earlier),
        calls=tuple(_call(entry) for entry in world.simulator.log()),
        mistakes=audit.audit(world.ledger_file).mistakes,
        leased=_leased(world.ledger_file),
        unfinished=unfinished(world.state),
        secrets_in_logs=tuple(_secrets_in(world, secrets)),
    )


def postings(ledger_file: Path) -> tuple[Posting, ...]:
    """Return all postings."""
    rows = select(
        ledger_file,
        "SELECT id, outcome, reserved, cost, input_tokens, output_tokens, estimated FROM postings",
    )
    return tuple(Posting(*row[:6], estimated=bool(row[6])) for row in rows)


def standing(ledger_file: Path) -> dict[str, tuple[int, int]]:
    """Return what each bucket has spent and has on lease, in one view of the books."""
    rows = select(
        ledger_file,
        """SELECT key, spent, (SELECT coalesce(sum(max(0, granted - settled)), 0) FROM leases
           WHERE bucket = key) FROM buckets""",
    )
    return {key: (spent, leased) for key, spent, leased in rows}


def unfinished(state: Path) -> tuple[str, ...]:
    """Return what stands in journals and is not posted."""
    left: list[str] = []
    for path in (state / "journal").glob("*.journal"):
        try:
            contents = journal.read(path.read_bytes())
        except FileNotFoundError:
            continue
        left += [f"{path.name}: reservation {name}" for name in contents.reservations]
        left += [f"{path.name}: settlement {number}" for number in contents.settlements]
    return tuple(left)


def footprint(world: World) -> Footprint:
    """Count what is held now."""
    titles = [_kind(title) for title in world.processes().values()]
    replicas = world.processes(REPLICA)
    return Footprint(
        processes={kind: titles.count(kind) for kind in sorted(set(titles)) if kind},
        replica_files=max((_files(pid) for pid in replicas), default=0),
        replica_kb=max((_resident_kb(pid) for pid in replicas), default=0),
    )


def _leased(ledger_file: Path) -> int:
    return sum(leased for _, leased in standing(ledger_file).values())


def select(file: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        return db.execute(query).fetchall()


def _call(entry: dict[str, object]) -> Call:
    names = ("asked", "status", "input_tokens", "output_tokens", "fault", "aborted")
    return Call(**{name: entry[name] for name in names})


def _secrets_in(world: World, secrets: tuple[str, ...]):
    for path, text in world.logs():
        for secret in secrets:
            if secret in text:
                yield f"{secret[:10]}… in {path.name}"


def _kind(title: str) -> str:
    """Return which of Compass's own actors it is; "" for Ray's workers and Serve's own."""
    name = title.split(".", maxsplit=1)[0].split("#", maxsplit=1)[0]
    own = ("LedgerActor", "BreakerActor", "MetricsHub", "ProviderActor", "ServeReplica")
    return next((kind for kind in own if name.startswith(kind)), "")


def _files(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def _resident_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(next(lines, "VmRSS: 0 kB").split()[1])
