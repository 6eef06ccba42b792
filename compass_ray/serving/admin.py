"""What callers and operators may ask and do beside a chat. Answers are JSON-ready."""

import re
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol, TypeVar, get_args

from compass_ray.gateway.authority import Authority
from compass_ray.gateway.directory import Directory
from compass_ray.gateway.throttle import Load, Throttle
from compass_ray.gateway.wallet import Ledger
from compass_ray.policy import budget
from compass_ray.policy.alerts import as_json
from compass_ray.policy.breaker import Action
from compass_ray.policy.budget import Bucket
from compass_ray.settings import Settings
from compass_ray.types.accounts import Account, Caller
from compass_ray.types.errors import (
    Forbidden,
    InvalidRequest,
    LedgerUnavailable,
    NoEndpoint,
    NotFound,
)
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Alert, Balance, Sync
from compass_ray.types.routing import Endpoint
from compass_ray.types.status import CircuitStatus, ProviderStatus
from compass_ray.types.usage import Usage

_T = TypeVar("_T")
_ACTIONS: tuple[Action, ...] = get_args(Action)
_ADJUSTMENT = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_LONGEST_REASON = 500
_MOST_ADJUSTED = 10**15
"""Micro-dollars of one adjustment: the books have room for thousands of them."""


class Books(Ledger, Protocol):
    """The Ledger, also for those who want to read its books."""

    async def balances(self, buckets: tuple[str, ...]) -> list[Balance]:
        """Return the books of those buckets."""

    async def postings(self, request_id: str) -> list[dict[str, Any]]:
        """Return every posting of a request, attempt by attempt."""

    async def alerts(self) -> list[Alert]:
        """Return all alerts, the oldest first."""


class Circuits(Authority, Protocol):
    """The Breaker, also for those who operate it."""

    async def snapshot(self) -> dict[str, CircuitStatus]:
        """Return every circuit of which there was news."""

    async def operate(self, endpoint_id: str, action: Action) -> CircuitStatus:
        """Open, close or reset a circuit by hand, and return what it is now."""


class Admin:
    """`created` is when the models began to be served, in Unix seconds."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        ledger: Books,
        breaker: Circuits,
        created: float,
        *,
        throttle: Throttle | None = None,
    ) -> None:
        self._settings = settings
        self._throttle = throttle
        self._directory = directory
        self._ledger = ledger
        self._breaker = breaker
        self._created = int(created)

    def models(self) -> list[dict[str, object]]:
        """Return the models that can be called now, in OpenAI's shape; `auto` first."""
        unavailable = self._directory.unavailable()
        by_model: dict[str, list[Endpoint]] = {}
        for endpoint in self._settings.endpoints:
            if endpoint.provider not in unavailable:
                by_model.setdefault(endpoint.model, []).append(endpoint)
        auto = {"id": "auto", "object": "model", "created": self._created, "owned_by": "compass"}
        return [auto, *(self._model(name, by_model[name]) for name in sorted(by_model))]

    def providers(self) -> list[dict[str, object]]:
        """Return the latest word of every provider's actor, without its key.

        `concurrency` is of this replica's own calls, where they are limited.
        """
        loads = {} if self._throttle is None else self._throttle.loads()
        return [_provider(status, loads) for status in self._directory.statuses()]

    async def budgets(self, caller: Caller) -> list[dict[str, object]]:
        """Return what the caller's account and those above it have used, the caller's first.

        Raises:
            LedgerUnavailable
        """
        path = budget.path(self._settings.accounts, caller.account, time.time())
        keys = tuple(bucket.key for bucket in path)
        balances = await _from_ledger(self._ledger.balances(keys))
        return [_budget(*pair) for pair in zip(path, balances, strict=True)]

    async def alerts(self, caller: Caller) -> list[dict[str, object]]:
        """Return what was told of the caller's account and those above it, an admin all of it.

        Raises:
            LedgerUnavailable
        """
        path = budget.path(self._settings.accounts, caller.account, time.time())
        own = {bucket.account for bucket in path}
        told = await self.all_alerts()
        return [as_json(one) for one in told if caller.admin or one.account in own]

    async def all_alerts(self) -> list[Alert]:
        """Return what was told of all accounts, the oldest first.

        Raises:
            LedgerUnavailable
        """
        return await _from_ledger(self._ledger.alerts())

    async def postings(self, caller: Caller, request_id: str) -> list[dict[str, object]]:
        """Return what was posted for each attempt of a request that the caller's account paid.

        Raises:
            NotFound: no such request, or another account's.
            LedgerUnavailable
        """
        rows = await _from_ledger(self._ledger.postings(request_id))
        own = [row for row in rows if _payer(row) == caller.account]
        if not own:
            raise NotFound(f"no postings of {request_id!r}", code="unknown_request")
        return [_posting(row) for row in own]

    async def adjust(self, caller: Caller, order: Any) -> dict[str, object]:
        """Correct what an account and those above it have spent, and return the posting.

        `{"id": ..., "account": ..., "micro_usd": ..., "reason": ...}`; a negative amount gives
        money back. The same `id` posts once.

        Raises:
            Forbidden: the caller's key is no admin's.
            InvalidRequest, NotFound: names the field.
            LedgerUnavailable
        """
        only_admin(caller, "adjusting an account")
        request_id, settlement = _adjustment(self._settings.accounts, order, time.time())
        await _from_ledger(self._ledger.sync(Sync("adjustments", 0, (settlement,))))
        (row,) = await _from_ledger(self._ledger.postings(request_id))
        if (row["cost"], _payer(row)) != (settlement.cost, order["account"]):
            raise InvalidRequest("is the id of another adjustment", param="id", code="id_is_taken")
        return _posting(row)

    async def circuits(self) -> list[dict[str, object]]:
        """Return the circuit of every provider and every endpoint.

        Raises:
            NoEndpoint: the breaker is silent.
        """
        told = await _from_breaker(self._breaker.snapshot())
        never = CircuitStatus()
        return [_circuit(name, told.get(name, never)) for name in self._circuit_names()]

    async def operate(self, caller: Caller, order: Any) -> dict[str, object]:
        """Open, close or reset a circuit: `{"endpoint": ..., "action": ...}`.

        `endpoint` may name a provider, and means the circuit before all of its endpoints.

        Raises:
            Forbidden: the caller's key is no admin's.
            InvalidRequest, NotFound: names the field.
            NoEndpoint: the breaker is silent.
        """
        only_admin(caller, "operating a circuit")
        order = json_object(order)
        action, endpoint_id = order.get("action"), order.get("endpoint")
        if action not in _ACTIONS:
            raise InvalidRequest(f"action must be one of {', '.join(_ACTIONS)}", param="action")
        if endpoint_id not in self._circuit_names():
            raise NotFound(f"no endpoint {endpoint_id!r}", param="endpoint")
        status = await _from_breaker(self._breaker.operate(str(endpoint_id), action))
        return _circuit(str(endpoint_id), status)

    def _circuit_names(self) -> list[str]:
        endpoints = self._settings.endpoints
        return [*dict.fromkeys(one.provider for one in endpoints), *(one.id for one in endpoints)]

    def _model(self, name: str, endpoints: list[Endpoint]) -> dict[str, object]:
        first = endpoints[0]
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": first.provider,
            "context_window": first.context_window,
            **_limits(first),
            "tier": int(first.tier),
            "capabilities": sorted(first.capabilities),
            "endpoints": [endpoint.id for endpoint in endpoints],
        }


def _limits(endpoint: Endpoint) -> dict[str, object]:
    card = endpoint.embedding
    if card is None:
        return {"max_output_tokens": endpoint.max_output_tokens}
    return {"dimensions": card.dimensions, "shortens": card.shortens}


def only_admin(caller: Caller, what: str) -> None:
    """Refuse everybody else; `what` is what they want to do.

    Raises:
        Forbidden
    """
    if not caller.admin:
        raise Forbidden(f"{what} takes an admin's key", code="not_an_admin")


def only_reader(caller: Caller) -> None:
    """Refuse who may not read the metrics of all accounts.

    Raises:
        Forbidden
    """
    if not (caller.metrics or caller.admin):
        raise Forbidden("metrics take a key with `metrics: true`, or an admin's", code="no_metrics")


def json_object(order: Any) -> Mapping[str, Any]:
    """Return a body that is an object.

    Raises:
        InvalidRequest
    """
    if not isinstance(order, Mapping):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    return order


def _adjustment(accounts: Mapping[str, Account], body: Any, now: float) -> tuple[str, Settlement]:
    """Return what an order says, as a settlement, and the request id under which it is posted."""
    order = json_object(body)
    name, account, amount, reason = map(order.get, ("id", "account", "micro_usd", "reason"))
    if not isinstance(name, str) or not _ADJUSTMENT.fullmatch(name):
        raise InvalidRequest("id must be 1 to 100 of letters, digits and . _ -", param="id")
    if not isinstance(account, str) or account not in accounts:
        raise NotFound(f"no account {account!r}", param="account")
    if type(amount) is not int or not 0 < abs(amount) <= _MOST_ADJUSTED:
        raise InvalidRequest("micro_usd must be a whole number, and not 0", param="micro_usd")
    if not isinstance(reason, str) or not 0 < len(reason) <= _LONGEST_REASON:
        raise InvalidRequest(f"reason must be 1 to {_LONGEST_REASON} characters", param="reason")
    path = budget.path(accounts, account, now)
    buckets = tuple(bucket.key for bucket in path if bucket.unit == "usd")
    request_id = f"adj_{name}"
    reservation = Reservation(f"{request_id}/0", buckets, 0, now)
    return request_id, Settlement(reservation, "adjusted", amount, "", "", Usage(), now, reason)


async def _from_ledger(question: Awaitable[_T]) -> _T:
    try:
        return await question
    except Exception as error:
        raise LedgerUnavailable("the ledger is silent") from error


async def _from_breaker(question: Awaitable[_T]) -> _T:
    try:
        return await question
    except Exception as error:
        raise NoEndpoint("the breaker is silent") from error


def _provider(status: ProviderStatus, loads: Mapping[str, Load]) -> dict[str, object]:
    own = {name: load for name, load in loads.items() if name.startswith(f"{status.name}/")}
    return {
        "name": status.name,
        "kind": status.kind,
        "configured": status.configured,
        "waits_for": list(status.waits_for),
        "base_url": status.base_url,
        "keys": [key.variable for key in status.keys],
        "healthy": status.healthy,
        "detail": status.detail,
        "models": list(status.models),
        "starts": dict(status.starts),
        "checked_at": status.checked_at,
        "concurrency": {name: load._asdict() for name, load in own.items()},
    }


def _budget(bucket: Bucket, books: Balance) -> dict[str, object]:
    limit = books.limit
    return {
        "account": bucket.account,
        "unit": "micro_usd" if bucket.unit == "usd" else bucket.unit,
        "window": bucket.window,
        "resets_at": bucket.resets_at,
        "limit": limit,
        "spent": books.spent,
        "leased": books.leased,
        "remaining": None if limit is None else max(0, limit - books.spent),
    }


def _payer(row: Mapping[str, Any]) -> str:
    """Return the account of the first bucket: the one whose key was used."""
    return budget.parse(row["buckets"].partition(" ")[0])[0]


def _posting(row: Mapping[str, Any]) -> dict[str, object]:
    return {
        "attempt": row["id"],
        "buckets": row["buckets"].split(),
        "outcome": row["outcome"],
        "provider": row["provider"],
        "model": row["model"],
        "reserved_micro_usd": row["reserved"],
        "cost_micro_usd": row["cost"],
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "cached_input_tokens": row["cached_input_tokens"],
        "cache_write_tokens": row["cache_write_tokens"],
        "reasoning_tokens": row["reasoning_tokens"],
        "usage_estimated": bool(row["estimated"]),
        "reserved_at": row["reserved_at"],
        "ended_at": row["ended_at"],
        "reason": row["reason"],
    }


def _circuit(endpoint_id: str, status: CircuitStatus) -> dict[str, object]:
    return {
        "endpoint": endpoint_id,
        "phase": status.phase,
        "reason": status.reason,
        "retry_at": status.retry_at,
    }
