"""What callers may ask about decisions, and say about answers. JSON-ready."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, get_args

import orjson

from compass_ray.gateway.decisions import DecisionLog, Store
from compass_ray.gateway.taught import Teacher
from compass_ray.policy.retell import retold
from compass_ray.serving.admin import json_object, only_admin
from compass_ray.serving.experiments import as_json, order_of, ordered_run
from compass_ray.types.accounts import Caller
from compass_ray.types.decisions import (
    Judgement,
    KeptDecision,
    Learning,
    LearningAction,
    NotJudged,
    Order,
    Verdict,
)
from compass_ray.types.errors import FeedbackGiven, InvalidRequest, LearnerUnavailable, NotFound
from compass_ray.types.experiments import ExperimentOrder, Run
from compass_ray.types.shifts import Shift

_T = TypeVar("_T")
_W = TypeVar("_W")
_ACTIONS: tuple[LearningAction, ...] = get_args(LearningAction)
_LATEST = 2**62


class Learner(Store, Teacher, Protocol):
    """The Learner, also for those who ask, judge and operate."""

    async def decision(self, request_id: str) -> KeptDecision | None:
        """Return a decision; None where it is unknown, or forgotten."""

    async def judge(self, judgement: Judgement) -> Verdict:
        """Take a score, and learn from it; safe to repeat."""

    async def operate(self, order: Order) -> Learning | None:
        """Freeze, resume or roll back; None where the version is not there to go back to."""

    async def learning(self) -> Learning:
        """Return where learning stands."""

    async def shifts(self) -> Sequence[Shift]:
        """Return all drift that was found, the oldest first."""

    async def experiments(self) -> Sequence[Run]:
        """Return all runs of experiments as they stand, by name."""

    async def operate_experiment(self, order: ExperimentOrder) -> Sequence[Run] | None:
        """Start or stop an experiment and return all; None where there is none of that name."""


class Decisions:
    """`log` holds what this replica has not told the Learner yet; None where nothing is kept."""

    def __init__(self, learner: Learner, log: DecisionLog | None) -> None:
        self._learner = learner
        self._log = log

    async def decision(self, caller: Caller, request_id: str) -> dict[str, object]:
        """Return how a request of the caller's account was decided; an admin may see any.

        Raises:
            NotFound: no such request, or another account's.
            LearnerUnavailable
        """
        found = await self._asked(self._learner.decision, request_id)
        if found is None or not (caller.admin or found.account == caller.account):
            raise NotFound(f"no decision about {request_id!r}", code="unknown_request")
        return _decision(found)

    async def judge(self, caller: Caller, said: Any) -> dict[str, object]:
        """Take what the caller thinks of an answer: `{"request_id": ..., "score": 0 to 1}`.

        The first word about an answer counts; saying it again changes nothing.

        Raises:
            InvalidRequest: names the field.
            NotFound: no such request, or another account's.
            FeedbackGiven: the first word was another.
            LearnerUnavailable
        """
        judgement = _judgement(caller.account, json_object(said), time.time())
        verdict = await self._asked(self._learner.judge, judgement)
        if isinstance(verdict, NotJudged):
            raise _refusal(verdict, judgement.request_id)
        return {
            "request_id": judgement.request_id,
            "score": verdict.score,
            "learned_in": verdict.learned_in,
        }

    async def learning(self, caller: Caller) -> dict[str, object]:
        """Return where learning stands.

        Raises:
            Forbidden: the caller's key is no admin's.
            LearnerUnavailable
        """
        only_admin(caller, "looking at what is learned")
        return _learning(await _heard(self._learner.learning))

    async def operate(self, caller: Caller, order: Any) -> dict[str, object]:
        """Freeze learning, resume it, or roll it back: `{"action": ..., "to": version}`.

        Raises:
            Forbidden: the caller's key is no admin's.
            InvalidRequest, NotFound: names the field.
            LearnerUnavailable
        """
        only_admin(caller, "operating what is learned")
        wanted = _order(json_object(order))
        done = await self._asked(self._learner.operate, wanted)
        if done is None:
            raise NotFound(f"no version {wanted.to} to go back to", param="to")
        return _learning(done)

    async def experiments(self, caller: Caller) -> list[dict[str, object]]:
        """Return all experiments, with what is known of their arms.

        Raises:
            Forbidden: the caller's key is no admin's.
            LearnerUnavailable
        """
        only_admin(caller, "looking at experiments")
        return [as_json(run) for run in await _heard(self._learner.experiments)]

    async def operate_experiment(self, caller: Caller, order: Any) -> dict[str, object]:
        """Start or stop an experiment: `{"name": ..., "action": ...}`; starting begins a new run.

        Raises:
            Forbidden: the caller's key is no admin's.
            InvalidRequest, NotFound: names the field.
            LearnerUnavailable
        """
        only_admin(caller, "operating experiments")
        wanted = order_of(json_object(order))
        return as_json(
            ordered_run(wanted, await self._asked(self._learner.operate_experiment, wanted))
        )

    async def shifts(self) -> Sequence[Shift]:
        """Return all drift that was found, the oldest first.

        Raises:
            LearnerUnavailable
        """
        return await _heard(self._learner.shifts)

    async def _asked(self, question: Callable[[_W], Awaitable[_T]], words: _W) -> _T:
        """Return the Learner's answer, once it knows all that this replica knows."""
        if self._log is not None:
            await _heard(self._log.flush)
        return await _heard(partial(question, words))


async def _heard(question: Callable[[], Awaitable[_T]]) -> _T:
    try:
        return await question()
    except Exception as error:
        raise LearnerUnavailable("the learner is silent") from error


def _judgement(account: str, said: Mapping[str, Any], now: float) -> Judgement:
    request_id, score = said.get("request_id"), said.get("score")
    if not isinstance(request_id, str) or not request_id:
        raise InvalidRequest("request_id must be the id of a request", param="request_id")
    if not isinstance(score, bool | int | float) or not 0 <= score <= 1:
        raise InvalidRequest("score must be from 0 to 1, or true or false", param="score")
    return Judgement(request_id, account, float(score), now)


def _order(said: Mapping[str, Any]) -> Order:
    action, to = said.get("action"), said.get("to", 0)
    if action not in _ACTIONS:
        raise InvalidRequest(f"action must be one of {', '.join(_ACTIONS)}", param="action")
    if action != "roll_back":
        return Order(action)
    if type(to) is not int or not 0 < to <= _LATEST:
        raise InvalidRequest("to must be the number of a version", param="to")
    return Order(action, to)


def _refusal(verdict: NotJudged, request_id: str) -> Exception:
    if verdict.why == "unknown":
        return NotFound(
            f"no decision about {request_id!r}", code="unknown_request", param="request_id"
        )
    if verdict.why == "unanswered":
        return InvalidRequest(
            f"nobody answered {request_id!r}", code="not_answered", param="request_id"
        )
    return FeedbackGiven(
        f"{request_id!r} has another score already", code="feedback_given", param="score"
    )


def _decision(found: KeptDecision) -> dict[str, object]:
    feedback = None
    if found.score is not None:
        feedback = {
            "score": found.score,
            "at": found.judged_at,
            "learned_in": found.learned_in,
        }
    return {
        "request_id": found.request_id,
        "account": found.account,
        "at": found.at,
        **retold(orjson.loads(found.told), found.scores),
        "feedback": feedback,
    }


def _learning(told: Learning) -> dict[str, object]:
    return {
        "mode": told.mode,
        "version": told.version,
        "oldest_version": told.oldest,
        "judged": {tier.name.lower(): count for tier, count in told.seen.items()},
    }
