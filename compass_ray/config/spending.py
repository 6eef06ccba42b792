"""Settings of who may spend how much, and of who is told."""

# ruff: noqa: RUF012  # pydantic copies mutable defaults

from typing import Annotated, Self

from pydantic import Field, model_validator

from compass_ray.config.fields import (
    KEY_HASH,
    Amount,
    Count,
    Dollars,
    Glob,
    Name,
    Percent,
    Section,
    TimeZone,
    Url,
    Variables,
)
from compass_ray.config.weights import Weights


class Allowance(Section):
    """How much may be used in one period."""

    usd: Dollars | None = None
    """US dollars; a number or a decimal string."""
    tokens: Amount | None = None
    """Tokens in and out."""
    requests: Amount | None = None
    """Requests."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.usd is None and self.tokens is None and self.requests is None:
            raise ValueError("needs usd, tokens or requests")
        return self


class Budget(Section):
    """What may be used in all, and what in each day and month. Never exceeded by a cent."""

    day: Allowance | None = None
    """Each day."""
    month: Allowance | None = None
    """Each month."""
    lifetime: Allowance | None = None
    """Ever."""
    time_zone: TimeZone = "UTC"
    """Where days and months begin."""


class Rates(Section):
    """How fast it may be used, by all replicas together."""

    requests_per_minute: Count | None = None
    """Requests in any 60 seconds."""
    tokens_per_minute: Count | None = None
    """Tokens in and out in any 60 seconds."""
    parallel: Count | None = None
    """Requests at once."""


class AccountEntry(Section):
    """Who pays. What an account spends counts for all accounts above it."""

    parent: Name | None = None
    """The account above it."""
    budget: Budget | None = None
    """Unlimited where it does not say."""
    rates: Rates | None = None
    """Likewise."""
    allowed_models: Annotated[list[Glob], Field(min_length=1)] | None = None
    """Names or endpoint ids, with * and ?; what an account above forbids stays forbidden."""
    weights: Weights | None = None
    """In place of `routing.weights`, for it and the accounts below it; such requests take part in
    no experiment."""
    webhook_secret_env: Annotated[Variables, Field(min_length=1)] | None = None
    """In place of `workflows.webhooks.secret_env`, for it and the accounts below it."""


class Key(Section):
    """A caller's API key, of which only the hash is kept."""

    name: Name
    """What it is called in the log."""
    hash: Annotated[str, Field(pattern=KEY_HASH)]
    """`sha256:` and the SHA-256 digest of the key in hex."""
    account: Name
    """The account that pays."""
    admin: bool = False
    """Whether it may operate what all share, such as circuits."""
    metrics: bool = False
    """Whether it may read the metrics, which name every account; an admin may in any case."""


class Alerts(Section):
    """What is told of budgets that are being used up: once for each threshold and window."""

    at: list[Percent] = [50, 75, 90]
    """Percent of a budget."""
    webhook: Url | None = None
    """Where each is posted to as JSON, again and again until it is accepted."""
