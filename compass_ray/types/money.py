"""What a replica and the Ledger say to each other. Amounts are in the unit of their bucket."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from compass_ray.types.accounts import Unit
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.usage import Usage

MOST_AT_ONCE = 5_000
"""Settlements in one message; the rest follows in the next."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of one bucket a replica would like to have been granted, in all, since it began.

    All are cumulative targets, so a repeated or late wish changes nothing, and each is at least
    the one before it. `kept` is settled or held and cannot be given back; `least` also covers the
    smallest request that waits, `need` all that wait; `want` adds a slice in advance.
    """

    kept: int
    least: int
    need: int
    want: int


@dataclass(frozen=True, slots=True)
class Sync:
    """One message of a replica; `seq` grows by one with each.

    `closing` gives all leases back, after these settlements; no grant follows it.
    """

    replica: str
    seq: int
    settlements: tuple[Settlement, ...]
    wishes: Mapping[str, Wish] = field(default_factory=dict)
    closing: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle settlements as rows of plain values: objects take ten times as long."""
        rows = [_row(settlement) for settlement in self.settlements]
        return _of_rows, (self.replica, self.seq, rows, self.wishes, self.closing)


_RESERVATION = [f"reservation.{one.name}" for one in fields(Reservation)]
_USAGE = [f"usage.{one.name}" for one in fields(Usage)]
_REST = [one.name for one in fields(Settlement) if one.name not in {"reservation", "usage"}]
_row = attrgetter(*_RESERVATION, *_USAGE, *_REST)


def _of_rows(replica: str, seq: int, rows: Iterable[tuple[Any, ...]], *rest: Any) -> Sync:
    return Sync(replica, seq, tuple(map(_settlement, rows)), *rest)


def _settlement(row: tuple[Any, ...]) -> Settlement:
    to, end = len(_RESERVATION), len(_RESERVATION) + len(_USAGE)
    rest = dict(zip(_REST, row[end:], strict=True))
    return Settlement(reservation=Reservation(*row[:to]), usage=Usage(*row[to:end]), **rest)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a replica has of one bucket, and how the bucket stands.

    `granted` is cumulative. `spent` is what all replicas together have settled, for a minute's
    limit in the last minute. `scarce` asks to give back what is not needed: somebody waits.
    `more_may_come` says that others have, unused, what this replica lacks. `frees_in` is the
    seconds after which a minute's limit has room for the least that waits.
    """

    granted: int
    spent: int
    scarce: bool
    more_may_come: bool = False
    frees_in: float = 0.0


@dataclass(frozen=True, slots=True)
class SyncReply:
    """Says that all settlements of message `seq` are durable, and what was granted."""

    seq: int
    grants: Mapping[str, Grant]


@dataclass(frozen=True, slots=True)
class Alert:
    """A bucket has used so many percent of its limit; told once for each threshold and window."""

    bucket: str
    account: str
    unit: Unit
    percent: int
    spent: int
    limit: int
    at: float
    """Unix seconds."""

    @property
    def window(self) -> str:
        """The name of the window, such as 2026-11."""
        return self.bucket.rpartition("@")[2].partition("#")[0]


@dataclass(frozen=True, slots=True)
class Balance:
    """One bucket's books; `leased` is granted and not yet settled."""

    bucket: str
    limit: int | None
    spent: int
    leased: int
