"""What a replica and the Ledger say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from compass_ray.types.events import Settlement
from compass_ray.types.usage import Money


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of one bucket a replica would like to have been granted, in all, since it began.

    Both are cumulative targets, so a repeated or late wish changes nothing. `need` covers what
    is settled, held and waited for; `want` adds a slice in advance.
    """

    need: Money
    want: Money


@dataclass(frozen=True, slots=True)
class Sync:
    """One message of a replica; `seq` grows by one with each.

    `settlements` are numbered without gaps from `first`, counted since the replica began.
    `closing` gives all leases back, after these settlements.
    """

    replica: str
    seq: int
    first: int
    settlements: tuple[Settlement, ...]
    wishes: Mapping[str, Wish] = field(default_factory=dict)
    closing: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a replica has of one bucket, and how the bucket stands.

    `granted` is cumulative. `spent` is what all replicas together have settled. `scarce` asks to
    give back what is not needed: somebody waits.
    """

    granted: Money
    spent: Money
    free: Money
    scarce: bool


@dataclass(frozen=True, slots=True)
class SyncReply:
    """`posted` is the number of the last settlement that is durable."""

    seq: int
    posted: int
    grants: Mapping[str, Grant]


@dataclass(frozen=True, slots=True)
class Balance:
    """One bucket's books, in micro-dollars; `leased` is granted and not yet settled."""

    bucket: str
    limit: Money | None
    spent: Money
    leased: Money
