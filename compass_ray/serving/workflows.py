"""What callers may ask of tasks and workflows. JSON-ready.

A task is a workflow of one call; what differs is how it is asked for.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import orjson

from compass_ray.gateway.pipeline import Gateway
from compass_ray.gateway.preferences import dollars
from compass_ray.policy.idempotency import checked
from compass_ray.policy.plans import calls, read_plan
from compass_ray.policy.select import explain
from compass_ray.serving.admin import json_object
from compass_ray.serving.orphans import Orphans
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import (
    CallerError,
    CompassError,
    IdempotencyKeyReused,
    InvalidPlan,
    InvalidRequest,
    NotFound,
    WorkflowsUnavailable,
)
from compass_ray.types.routing import Decision
from compass_ray.types.usage import Money
from compass_ray.types.workflows import Event, Kind, Order, Summary

_log = logging.getLogger("compass.workflows")
_T = TypeVar("_T")

_TIERS = {"low": "fast", "medium": "balanced", "high": "premium"}
_URGENCIES = {"low": "batch", "normal": "normal", "high": "real-time"}
_HOUR = 3_600.0
_LONGEST = 7 * 24 * _HOUR
_LISTED = 100
_BEAT = 2.0
_LONG_POLL = 10.0
"""A stream without news says at least so often that it lives; in seconds."""
_OF_TASK = ("complexity", "preferred_provider", "priority", "deadline_s", "budget_usd")
_OF_WORKFLOW = frozenset({"name", "input", "plan", "agents", "deadline_s", "budget_usd"})


class Authority(Protocol):
    """The Workflows actor, directly or through a handle."""

    async def tend(self) -> None:
        """Take up what is not over."""

    async def create(self, order: Order) -> Summary | None:
        """Begin a run, once per id; None where there is no room."""

    async def summary(self, run: str, account: str) -> Summary | None:
        """Return where an account's run stands; None where it has none of that id."""

    async def latest(self, account: str, kind: Kind, most: int) -> list[Summary]:
        """Return an account's runs, the latest first."""

    async def events(
        self, run: str, account: str, after: int, wait: float
    ) -> Sequence[Event] | None:
        """Return the events from number `after` on, once there are any or `wait` seconds passed."""

    async def cancel(self, run: str, account: str) -> Summary | None:
        """End a run, where it is not over; return where it stands then."""


class Workflows:
    """Orders, and questions about them. `providers` are the names in use; `wall` is Unix time."""

    def __init__(
        self,
        authority: Authority,
        gateway: Gateway,
        providers: frozenset[str],
        wall: Callable[[], float],
    ) -> None:
        self._authority = authority
        self._gateway = gateway
        self._providers = providers
        self._wall = wall
        self._orphans = Orphans()

    async def to_its_end(self, work: Coroutine[Any, Any, _T], account: str, key: str) -> _T:
        """Return what `work`, a run's call with that key, returns; see `Orphans`."""
        run = key.partition("/")[0]

        async def is_wanted() -> bool:
            found = await self._authority.summary(run, account)
            return found is not None and found.end is None

        return await self._orphans.to_its_end(work, run, is_wanted)

    async def tend(self) -> None:
        """See to it, until cancelled, that runs go on after the actor's restart."""
        while True:
            try:
                await self._authority.tend()
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                _log.warning("the workflows are silent: %s", type(error).__name__)
            await asyncio.sleep(_BEAT)

    async def create(
        self, caller: Caller, kind: Kind, asked: Any, key: str | None
    ) -> dict[str, object]:
        """Begin a run, and return where it stands; with an Idempotency-Key, once per key.

        Raises:
            InvalidRequest, InvalidPlan: names the field; nothing ran.
            IdempotencyKeyReused: the key stands for another order.
            WorkflowsUnavailable
        """
        asked = json_object(asked)
        run = _new_id(kind) if key is None else _id_of(kind, caller.account, checked(key))
        told: dict[str, object] = {}
        if kind == "task":
            plan, decision = self._task(asked, caller)
            (first, *_) = explain(decision)["candidates"]
            told["model_selected"] = decision.endpoints[0].model
            told["estimated_time"] = first["expected_seconds"]
        else:
            plan = await self._plan(asked, caller)
        now = self._wall()
        order = Order(
            id=run,
            kind=kind,
            name=_text(asked, "name") if kind == "workflow" else "",
            caller=caller,
            plan=plan,
            input=_text(asked, "input") if kind == "workflow" else "",
            budget=self._budget(asked, caller),
            created_at=now,
            deadline_at=now + _deadline(asked),
        )
        begun = await self._asked(self._authority.create(order))
        if begun is None:
            raise WorkflowsUnavailable("too many workflows are under way", retry_after=5.0)
        if (begun.order.plan, begun.order.input) != (plan, order.input):
            raise IdempotencyKeyReused(
                "this Idempotency-Key stands for another order",
                code="idempotency_key_reused",
                param="Idempotency-Key",
            )
        return _told(begun) | told

    async def summary(self, caller: Caller, kind: Kind, run: str) -> dict[str, object]:
        """Return where a run of the caller's account stands.

        Raises:
            NotFound: no such run, or another account's.
            WorkflowsUnavailable
        """
        found = await self._asked(self._authority.summary(run, caller.account))
        return _told(_of_kind(found, kind, run))

    async def latest(self, caller: Caller, kind: Kind) -> list[dict[str, object]]:
        """Return the latest runs of the caller's account.

        Raises:
            WorkflowsUnavailable
        """
        found = self._authority.latest(caller.account, kind, _LISTED)
        return [_told(one) for one in await self._asked(found)]

    async def cancel(self, caller: Caller, kind: Kind, run: str) -> dict[str, object]:
        """End a run of the caller's account; one that is over stays as it is.

        Raises:
            NotFound, WorkflowsUnavailable
        """
        await self.summary(caller, kind, run)
        found = await self._asked(self._authority.cancel(run, caller.account))
        return _told(_of_kind(found, kind, run))

    async def stream(
        self, caller: Caller, kind: Kind, run: str, seen: str | None
    ) -> AsyncIterator[bytes]:
        """Return the run's events as server-sent ones, from after the one that was `seen`.

        Raises:
            InvalidRequest: `seen` is no event's id.
            NotFound, WorkflowsUnavailable
        """
        if seen is not None and not (seen.isascii() and seen.isdecimal()):
            raise InvalidRequest("Last-Event-ID must be an event's id", param="Last-Event-ID")
        await self.summary(caller, kind, run)
        return self._events(caller.account, run, 0 if seen is None else int(seen[-9:]) + 1)

    async def _events(self, account: str, run: str, after: int) -> AsyncIterator[bytes]:
        while True:
            try:
                events = await self._authority.events(run, account, after, _LONG_POLL)
            except Exception as error:  # noqa: BLE001  # the client comes back with its last id
                _log.warning("a stream of %s ends: %s", run, type(error).__name__)
                return
            for number, event in enumerate(events or (), after):
                kind = type(event).__name__.lower()
                told = orjson.dumps(event._asdict())
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), told)
                if kind == "ended":
                    return
            if not events:
                ended = await self._authority.summary(run, account)
                if ended is None or ended.end is not None:
                    return
                yield b": nothing new\n\n"
            after += len(events or ())

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

    async def _asked(self, question: Awaitable[_T]) -> _T:
        try:
            return await question
        except Exception as error:
            raise WorkflowsUnavailable("the workflows are silent", retry_after=2.0) from error


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


def _of_kind(found: Summary | None, kind: Kind, run: str) -> Summary:
    if found is None or found.order.kind != kind:
        raise NotFound(f"no {kind} {run!r}", code=f"unknown_{kind}")
    return found


def _told(one: Summary) -> dict[str, object]:
    order, end = one.order, one.end
    told: dict[str, object] = {
        f"{order.kind}_id": order.id,
        "status": one.status,
        "name": order.name,
        "created_at": order.created_at,
        "deadline_at": order.deadline_at,
        "ended_at": None if end is None else end.at,
        "calls": one.calls,
        "cost_micro_usd": one.cost,
        "budget_micro_usd": order.budget,
        "remaining_micro_usd": None if order.budget is None else order.budget - one.cost,
        "streaming_url": f"/api/v1/{order.kind}s/{order.id}/stream",
        "result": None,
        "error": None,
    }
    if end is not None and end.status == "completed":
        told["result"] = end.text
        told["confidence"] = end.confidence
        told["alternatives"] = list(end.alternatives)
    elif end is not None and end.status == "failed":
        told["error"] = {"step": end.step, "code": end.code, "message": end.message}
    return told
