"""The path of one request. Read it top to bottom; that is the architecture.

    authenticate → parse → classify → select → admit → call → normalise → settle → record

Everything up to `select` is a pure function of the request and of local snapshots. `Attempts`
admits (circuit and money), calls (a provider's wire, which also normalises) and settles, once
per attempt. No step reaches back; no step waits for an actor, unless a budget is nearly used up.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from compass_ray.gateway.attempts import Attempts, Completed
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.chooser import Chooser
from compass_ray.gateway.decisions import DecisionLog
from compass_ray.gateway.escalate import Ladder
from compass_ray.gateway.experiments import Experiments
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.job import Clock, Job
from compass_ray.gateway.parse import parse
from compass_ray.gateway.parse_embeddings import parse_embeddings
from compass_ray.gateway.ports import Circuits, Directory, Recorder, Wallet
from compass_ray.gateway.preferences import NO_HEADERS
from compass_ray.gateway.records import of_job, of_refusal
from compass_ray.gateway.reply import Reply
from compass_ray.gateway.streams import status_of
from compass_ray.gateway.taught import Pupil
from compass_ray.policy.classify import classify
from compass_ray.policy.embeddings import select_for_embeddings
from compass_ray.policy.plan import Plan, planned
from compass_ray.policy.quality import QualityModel
from compass_ray.policy.refusal import refusal
from compass_ray.policy.rules import Rules
from compass_ray.policy.select import Catalogue, select
from compass_ray.policy.worth import worth_its_price
from compass_ray.types.accounts import Caller
from compass_ray.types.chat import ChatRequest
from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.errors import InvalidRequest
from compass_ray.types.requests import Kind, Request
from compass_ray.types.routing import Decision, Endpoint
from compass_ray.types.usage import Money

_log = logging.getLogger("compass.prompts")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every decision of this replica rests on."""

    limits: Limits
    callers: Callers
    rules: Rules
    catalogue: Catalogue
    """The endpoints that answer chats."""
    embedders: Catalogue
    """Those that make embeddings."""
    plan: Plan
    timeout: float
    """Seconds from first byte in to last byte out."""
    model: QualityModel | None = None
    """What was learned of the tiers' answers; without it the rules alone decide."""
    plans: Mapping[str, Plan] = field(default_factory=dict)
    """By account, for those that are not decided by `plan`."""
    log_prompts: bool = False
    """Only where the operator asks for it; nothing else ever logs a word of a prompt."""


class _Way(NamedTuple):
    """What differs on the path of one kind of request."""

    parse: Callable[[bytes, Limits, Mapping[str, str]], Any]
    decide: Callable[[Any, Caller, str | None], Decision]
    complete: Callable[[Job[Any]], Awaitable[Completed]]


class Gateway:
    """Answers requests. One per replica; nothing in it knows Ray or HTTP servers."""

    def __init__(
        self,
        *,
        settings: Settings,
        attempts: Attempts,
        directory: Directory,
        circuits: Circuits,
        wallet: Wallet,
        recorder: Recorder,
        clock: Clock,
        pupil: Pupil | None = None,
        decisions: DecisionLog | None = None,
        ladder: Ladder | None = None,
        experiments: Experiments | None = None,
    ) -> None:
        self._settings = settings
        self._attempts = attempts
        self._directory = directory
        self._chooser = Chooser(settings.catalogue, settings.timeout, directory, circuits, wallet)
        self._embedders = Chooser(settings.embedders, settings.timeout, directory, circuits, wallet)
        self._wallet = wallet
        self._recorder = recorder
        self._clock = clock
        self._pupil = pupil
        self._decisions = decisions
        self._ladder = ladder
        self._ways: Mapping[Kind, _Way] = {
            "chat": _Way(parse, self._weigh, attempts.complete),
            "embeddings": _Way(parse_embeddings, self._weigh_embeddings, attempts.embed),
        }
        self._experiments = experiments

    def adopt(self, rules: Rules) -> None:
        """Go by other rules from the next request on."""
        self._settings = replace(self._settings, rules=rules)

    def authenticate(self, credential: str | None) -> Caller:
        """Return who is calling; asked before the body is read.

        Raises:
            Unauthenticated
        """
        return self._settings.callers.authenticate(credential)

    async def answer(
        self,
        raw: bytes,
        caller: Caller,
        request_id: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        kind: Kind = "chat",
    ) -> Reply:
        """Answer a body of OpenAI's JSON; close the reply in every case.

        `headers` are those of the request that are for Compass, see `gateway.preferences`.

        Raises:
            CompassError: whose fault it is, is in its `blame`; nothing is charged that was not
                produced.
        """
        way = self._ways[kind]
        try:
            request = way.parse(raw, self._settings.limits, headers)
            decision = way.decide(request, caller, request_id)
        except Exception as error:
            self.refuse(request_id, error, caller)
            raise
        if self._settings.log_prompts:
            _log.info("prompt of %s: %s", request_id, request.text)
        job = self._job(request_id, caller, request, decision)
        if not decision.endpoints:
            refused = refusal(decision.evidence.excluded())
            self._record(job, refused.status)
            raise refused
        self._recorder.active(1)
        try:
            if self._ladder is not None and kind == "chat" and self._ladder.is_for(request):
                completed = await self._ladder.complete(job)
                job.first_byte_at = self._clock.monotonic() if request.stream else None
            elif request.stream:
                return Reply(job, await self._attempts.open(job), self._end)
            else:
                completed = await way.complete(job)
        except BaseException as error:
            self._end(job, status_of(error))
            raise
        self._end(job, 200, completed.endpoint)
        return Reply(job, completed, self._end)

    def dry_run(self, raw: bytes, caller: Caller) -> Decision:
        """Return the decision about a body without acting on it."""
        return self.decide(parse(raw, self._settings.limits), caller)

    def decide(self, request: ChatRequest, caller: Caller) -> Decision:
        """Return the ordered candidates for `request`, and why the others are out.

        Raises:
            UnknownModel, NoEndpoint, InvalidRequest: there is no candidate.
        """
        decision = self._weigh(request, caller, None)
        if not decision.endpoints:
            raise refusal(decision.evidence.excluded())
        return decision

    def remaining(self, account: str) -> Money | None:
        """Return what the account may still spend, in micro-dollars; None without a budget."""
        return self._wallet.remaining(account, self._clock.wall())

    def refuse(self, request_id: str, error: Exception, caller: Caller | None = None) -> None:
        """Count and log a request that never became a job."""
        now = self._clock.wall()
        self._recorder.record(of_refusal(request_id, caller, status_of(error), now))

    def _weigh(self, request: ChatRequest, caller: Caller, request_id: str | None) -> Decision:
        """Return the decision; without a `request_id` nobody acts on it, so nothing is tried."""
        if self._ladder is None and request.preferences.escalate:
            raise InvalidRequest("answers are not escalated here", param="compass.escalate")
        settings = self._settings
        arm, plan = None, settings.plans.get(caller.account, settings.plan)
        if self._experiments is not None and plan is settings.plan:
            arm, plan = self._experiments.of(request, caller, request_id, plan)
        classification = classify(request, settings.rules, model=settings.model)
        if self._pupil is not None:
            act = request_id is not None
            classification = self._pupil.correct(request, classification, act=act)
        classification = worth_its_price(
            request, classification, settings.catalogue, plan.frugality
        )
        if self._ladder is not None:
            eased = self._ladder.eased
            classification = eased(request, classification, caller.account, settings.catalogue)
        if plan.tiers:
            classification = planned(request, classification, plan)
        about = request, classification, settings.catalogue
        decision = self._chooser.choose(select, about, caller, plan, self._clock.wall())
        return decision if arm is None else replace(decision, arm=arm)

    def _weigh_embeddings(
        self, request: EmbeddingRequest, caller: Caller, _request_id: str | None
    ) -> Decision:
        about = request, self._directory.keyless(), self._settings.embedders
        settings, now = self._settings, self._clock.wall()
        plan = settings.plans.get(caller.account, settings.plan)
        return self._embedders.choose(select_for_embeddings, about, caller, plan, now)

    def _end(self, job: Job[Any], status: int, endpoint: Endpoint | None = None) -> None:
        """Count and log the end of a job; `endpoint` is the one that answered."""
        self._recorder.active(-1)
        self._record(job, status, endpoint)
        if endpoint is not None:
            self._chooser.learn(job, endpoint)

    def _record(self, job: Job[Any], status: int, endpoint: Endpoint | None = None) -> None:
        record = of_job(job, status, endpoint, self._clock.monotonic())
        self._recorder.record(record)
        if self._decisions is not None:
            self._decisions.append(job, record, endpoint)

    def _job(
        self, request_id: str, caller: Caller, request: Request, decision: Decision
    ) -> Job[Any]:
        started = self._clock.monotonic()
        allowed = self._settings.timeout
        wished = request.preferences.timeout
        return Job(
            id=request_id,
            caller=caller,
            request=request,
            decision=decision,
            deadline=started + (allowed if wished is None else min(allowed, wished)),
            started=started,
            created=int(self._clock.wall()),
        )
