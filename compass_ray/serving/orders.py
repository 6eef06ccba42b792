"""What callers order: the fields of a task or a workflow, found sound before anything runs."""

import asyncio
import hashlib
import os
import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from compass_ray.gateway.pipeline import Gateway
from compass_ray.gateway.preferences import dollars
from compass_ray.policy.idempotency import checked
from compass_ray.policy.plans import calls, read_plan
from compass_ray.policy.select import explain
from compass_ray.policy.webhooks import flaw_of_url, key_of
from compass_ray.serving.admin import json_object
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import (
    CallerError,
    CompassError,
    InvalidPlan,
    InvalidRequest,
)
from compass_ray.types.routing import Decision
from compass_ray.types.settings import WebhookSettings, first_set
from compass_ray.types.usage import Money
from compass_ray.types.workflows import Kind, Order

_TIERS = {"low": "fast", "medium": "balanced", "high": "premium"}
_URGENCIES = {"low": "batch", "normal": "normal", "high": "real-time"}
_HOUR = 3_600.0
_LONGEST = 7 * 24 * _HOUR
_OF_TASK = (
    "complexity",
    "preferred_provider",
    "priority",
    "deadline_s",
    "budget_usd",
    "wait_s",
    "webhook",
)
_OF_WORKFLOW = frozenset(
    {"name", "input", "plan", "agents", "deadline_s", "budget_usd", "wait_s", "webhook"}
)


class Orders:
    """Reads them. `providers` are the names in use, `alerts` percents; `wall` is Unix time."""

    def __init__(
        self,
        gateway: Gateway,
        providers: frozenset[str],
        wall: Callable[[], float],
        *,
        alerts: tuple[int, ...],
        webhooks: WebhookSettings,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._gateway = gateway
        self._providers = providers
        self._alerts = alerts
        self.webhooks = webhooks
        self.wall = wall
        self._environ = environ

    async def read(
        self, caller: Caller, kind: Kind, asked: Mapping[str, Any], key: str | None
    ) -> tuple[Order, dict[str, object]]:
        """Return the order, and what is told of it beside its standing.

        Raises:
            InvalidRequest, InvalidPlan: names the field.
        """
        run = _new_id(kind) if key is None else _id_of(kind, caller.account, checked(key))
        told: dict[str, object] = {}
        if kind == "task":
            plan, decision = self._task(asked, caller)
            (first, *_) = explain(decision)["candidates"]
            told["model_selected"] = decision.endpoints[0].model
            told["estimated_time"] = first["expected_seconds"]
        else:
            plan = await self._plan(asked, caller)
        budget, now = self._budget(asked, caller), self.wall()
        order = Order(
            id=run,
            kind=kind,
            name=_text(asked, "name") if kind == "workflow" else "",
            caller=caller,
            plan=plan,
            input=_text(asked, "input") if kind == "workflow" else "",
            budget=budget,
            created_at=now,
            deadline_at=now + _deadline(asked),
            webhook=self._webhook(asked, caller),
            alerts=() if budget is None else self._alerts,
        )
        return order, told

    def _task(self, asked: Mapping[str, Any], caller: Caller) -> tuple[dict[str, Any], Decision]:
        call = {name: value for name, value in asked.items() if name not in _OF_TASK}
        wishes = dict(json_object(call.get("compass") or {}))
        for field, name, values in (
            ("complexity", "tier", _TIERS),
            ("priority", "urgency", _URGENCIES),
        ):
            if (word := asked.get(field)) is not None:
                if not isinstance(word, str) or word not in values:
                    raise InvalidRequest(f"{field} must be one of {', '.join(values)}", param=field)
                wishes.setdefault(name, values[word])
        preferred = asked.get("preferred_provider")
        if preferred is None:
            return self._decided({**call, "compass": wishes}, caller)
        if preferred not in self._providers:
            raise InvalidRequest(
                f"preferred_provider must be one of {', '.join(sorted(self._providers))}",
                param="preferred_provider",
            )
        try:
            return self._decided({**call, "compass": {**wishes, "providers": [preferred]}}, caller)
        except CompassError:
            return self._decided({**call, "compass": wishes}, caller)

    def _decided(self, call: dict[str, Any], caller: Caller) -> tuple[dict[str, Any], Decision]:
        if ("prompt" in call) == ("messages" in call):
            raise InvalidRequest("a task has either a prompt or messages", param="prompt")
        plan = {"plan": {**call, "literal": True}}
        try:
            ((_, read),) = calls(read_plan(plan))
        except InvalidPlan as error:
            param = error.param.removeprefix("plan.") if error.param else None
            raise InvalidRequest(error.message.removeprefix("plan."), param=param) from None
        return plan, self._gateway.dry_run(orjson.dumps(read.body), caller)

    async def _plan(self, asked: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Return the plan's JSON, once every call of it could be made now."""
        for field in asked:
            if field not in _OF_WORKFLOW:
                raise InvalidPlan(f"{field} is unknown", param=field)
        plan = {name: asked[name] for name in ("plan", "agents") if name in asked}
        for path, call in calls(read_plan(plan)):
            try:
                self._gateway.dry_run(orjson.dumps(call.body), caller)
            except CallerError as error:
                param = f"{path}.{error.param}" if error.param else path
                raise InvalidPlan(f"{path}: {error.message}", param=param) from None
            await asyncio.sleep(0)  # others have their turn between a thousand calls
        return plan

    def _budget(self, asked: Mapping[str, Any], caller: Caller) -> Money | None:
        """Return the budget of a run, in micro-dollars; never more than the account has left."""
        if asked.get("budget_usd") is None:
            return None
        budget = dollars(asked["budget_usd"], "budget_usd")
        left = self._gateway.remaining(caller.account)
        if budget <= 0 or (left is not None and budget > left):
            raise InvalidPlan(
                f"budget_usd must be above 0, and at most what is left: {left} micro-dollars",
                param="budget_usd",
            )
        return budget

    def _webhook(self, asked: Mapping[str, Any], caller: Caller) -> str | None:
        """Return the URL that is to be told of the end."""
        said = asked.get("webhook")
        if said is None:
            return None
        if not isinstance(said, dict):
            raise InvalidRequest("webhook must be an object with a url", param="webhook")
        for field in said:
            if field != "url":
                raise InvalidRequest(f"webhook.{field} is unknown", param=f"webhook.{field}")
        url: Any = said.get("url")
        flaw = flaw_of_url(url, self.webhooks.allow)
        if flaw is None:
            try:
                key_of(first_set(self._environ, self.webhooks.names_for(caller.account)) or "")
            except ValueError:
                flaw = "cannot be told: there is no secret to sign with, see secret_env"
        if flaw is not None:
            raise InvalidRequest(f"webhook.url {flaw}", param="webhook.url")
        return str(url)


def _new_id(kind: Kind) -> str:
    return f"{kind}_{random.getrandbits(96):024x}"


def _id_of(kind: Kind, account: str, key: str) -> str:
    """Return the id that an account's Idempotency-Key stands for."""
    told = orjson.dumps([kind, account, key])
    return f"{kind}_{hashlib.sha256(told).hexdigest()[:24]}"


def _text(asked: Mapping[str, Any], field: str) -> str:
    value = asked.get(field, "")
    if not isinstance(value, str):
        raise InvalidRequest(f"{field} must be a text", param=field)
    return value


def _deadline(asked: Mapping[str, Any]) -> float:
    seconds = asked.get("deadline_s", _HOUR)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = 0
    if not 0 < seconds <= _LONGEST:
        raise InvalidRequest(
            f"deadline_s must be a number of seconds, at most {_LONGEST:.0f}", param="deadline_s"
        )
    return float(seconds)
