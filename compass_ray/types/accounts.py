"""Who may spend how much, and who is calling."""

from dataclasses import dataclass
from typing import Literal

from compass_ray.types.usage import Money

Period = Literal["lifetime", "day", "month"]


@dataclass(frozen=True, slots=True)
class Account:
    """A node of the tree of accounts; `limit` is micro-dollars a period, None without a budget."""

    id: str
    parent: str | None = None
    limit: Money | None = None
    period: Period = "lifetime"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key it is: the account that pays, and the endpoints it may use (None: all).

    An `admin` may also operate what all share, such as circuits.
    """

    key_name: str
    account: str
    allowed_models: frozenset[str] | None = None
    admin: bool = False
