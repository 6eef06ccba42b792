"""Who may spend how much, and who is calling."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["usd", "tokens", "requests", "parallel"]
"""What is limited: micro-dollars, tokens in and out, requests, or requests at once."""

Period = Literal["lifetime", "month", "day", "minute"]
"""A `minute` is any 60 seconds; a day and a month are the calendar's."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of a unit may be used in a period, whose days begin in `time_zone` (IANA's name)."""

    amount: int
    period: Period = "lifetime"
    unit: Unit = "usd"
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Account:
    """A node of the tree of accounts. What it uses counts for all accounts above it."""

    id: str
    parent: str | None = None
    limits: tuple[Limit, ...] = ()


PROVIDER = "provider:"
"""Begins the id of the account that holds a provider's limits; no caller's account has it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key it is: the account that pays, and the endpoints it may use (None: all).

    An `admin` may also operate what all share, such as circuits; `metrics` lets it read those of
    all accounts, as an admin may.
    """

    key_name: str
    account: str
    allowed_models: frozenset[str] | None = None
    admin: bool = False
    metrics: bool = False
