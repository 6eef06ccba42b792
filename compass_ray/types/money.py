"""What a replica and the Ledger say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from compass_ray.types.events import Settlement
from compass_ray.types.usage import Money

MOST_AT_ONCE = 5_000
"""Settlements in one message; the rest follows in the next."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of one bucket a replica would like to have been granted, in all, since it began.

    All are cumulative targets, so a repeated or late wish changes nothing, and each is at least
    the one before it. `kept` is settled or held and cannot be given back; `least` also covers the
    smallest request that waits, `need` all that wait; `want` adds a slice in advance.
    """

    kept: Money
    least: Money
    need: Money
    want: Money


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


@dataclass(frozen=True, slots=True)
class Grant:
    """What a replica has of one bucket, and how the bucket stands.

    `granted` is cumulative. `spent` is what all replicas together have settled. `scarce` asks to
    give back what is not needed: somebody waits. `more_may_come` says that others have, unused,
    what this replica lacks.
    """

    granted: Money
    spent: Money
    scarce: bool
    more_may_come: bool = False


@dataclass(frozen=True, slots=True)
class SyncReply:
    """Says that all settlements of message `seq` are durable, and what was granted."""

    seq: int
    grants: Mapping[str, Grant]


@dataclass(frozen=True, slots=True)
class Balance:
    """One bucket's books, in micro-dollars; `leased` is granted and not yet settled."""

    bucket: str
    limit: Money | None
    spent: Money
    leased: Money
