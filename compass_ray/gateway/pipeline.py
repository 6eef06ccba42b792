"""The path of one request. Read it top to bottom; that is the architecture.

    authenticate → parse → classify → select → admit → call → normalise → settle → record

Everything up to `select` is a pure function of the request and of local snapshots. `Attempts`
admits (circuit and money), calls (a provider's wire, which also normalises) and settles, once
per attempt. No step reaches back; no step waits for an actor, unless a budget is nearly used up.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import is_

from compass_ray.gateway.attempts import Attempts
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.decisions import DecisionLog
from compass_ray.gateway.escalate import Ladder
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.job import Clock, Job
from compass_ray.gateway.parse import parse
from compass_ray.gateway.ports import Circuits, Directory, Recorder, Wallet
from compass_ray.gateway.preferences import NO_HEADERS
from compass_ray.gateway.records import of_job, of_refusal
from compass_ray.gateway.reply import Reply
from compass_ray.gateway.streams import status_of
from compass_ray.gateway.taught import Pupil
from compass_ray.policy.classify import classify
from compass_ray.policy.quality import QualityModel
from compass_ray.policy.refusal import refusal
from compass_ray.policy.rules import Rules
from compass_ray.policy.select import Catalogue, Conditions, Weights, select
from compass_ray.policy.worth import worth_its_price
from compass_ray.types.accounts import Caller
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import InvalidRequest
from compass_ray.types.routing import Decision, Endpoint
from compass_ray.types.usage import MAX_MONEY, Money

_log = logging.getLogger("compass.prompts")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every decision of this replica rests on."""

    limits: Limits
    callers: Callers
    rules: Rules
    catalogue: Catalogue
    weights: Weights
    timeout: float
    """Seconds from first byte in to last byte out."""
    thrift: Sequence[tuple[float, Weights]] = ()
    """The weights that hold from so large a used share of the caller's budget; ascending."""
    model: QualityModel | None = None
    """What was learned of the tiers' answers; without it the rules alone decide."""
    frugality: float = 0.0
    """How much expected quality a premium answer's cost is worth."""
    log_prompts: bool = False
    """Only where the operator asks for it; nothing else ever logs a word of a prompt."""


class Gateway:
    """Answers chat requests. One per replica; nothing in it knows Ray or HTTP servers."""

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
    ) -> None:
        self._settings = settings
        self._attempts = attempts
        self._directory = directory
        self._circuits = circuits
        self._wallet = wallet
        self._recorder = recorder
        self._clock = clock
        self._out_of: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
        self._out: Mapping[str, str] = {}
        self._pupil = pupil
        self._decisions = decisions
        self._ladder = ladder

    def authenticate(self, credential: str | None) -> Caller:
        """Return who is calling; asked before the body is read.

        Raises:
            Unauthenticated
        """
        return self._settings.callers.authenticate(credential)

    async def chat(
        self,
        raw: bytes,
        caller: Caller,
        request_id: str,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Reply:
        """Answer a chat-completions body; close the reply in every case.

        `headers` are those of the request that are for Compass, see `gateway.preferences`.

        Raises:
            CompassError: whose fault it is, is in its `blame`; nothing is charged that was not
                produced.
        """
        try:
            request = parse(raw, self._settings.limits, headers)
            decision = self._weigh(request, caller, act=True)
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
            if self._ladder is not None and self._ladder.is_for(request):
                completed = await self._ladder.complete(job)
                job.first_byte_at = self._clock.monotonic() if request.stream else None
            elif request.stream:
                return Reply(job, await self._attempts.open(job), self._end)
            else:
                completed = await self._attempts.complete(job)
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
        decision = self._weigh(request, caller, act=False)
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

    def _weigh(self, request: ChatRequest, caller: Caller, *, act: bool) -> Decision:
        """Return the decision; only where somebody will `act` on it can it be an experiment."""
        if self._ladder is None and request.preferences.escalate:
            raise InvalidRequest("answers are not escalated here", param="compass.escalate")
        settings = self._settings
        now = self._clock.wall()
        remaining = self._wallet.remaining(caller.account, now)
        conditions = Conditions(
            self._unavailable(now),
            caller.allowed_models,
            remaining,
            self._directory.starts(),
            settings.timeout,
        )
        classification = classify(request, settings.rules, model=settings.model)
        if self._pupil is not None:
            classification = self._pupil.correct(request, classification, act=act)
        classification = worth_its_price(
            request, classification, settings.catalogue, settings.frugality
        )
        weights = settings.weights if remaining is None else self._weights(caller.account, now)
        decision = select(request, classification, settings.catalogue, conditions, weights)
        if not decision.endpoints and remaining is not None:
            # What remains is an estimate: the wallet has the last word on money.
            unbound = conditions._replace(remaining=MAX_MONEY)
            decision = select(request, classification, settings.catalogue, unbound, weights)
        return decision

    def _unavailable(self, now: float) -> Mapping[str, str]:
        """Return who cannot be called, and why; the same object until that changes."""
        sources = self._directory.unavailable(), self._circuits.excluded(now)
        if not all(map(is_, sources, self._out_of)):
            self._out_of, self._out = sources, {**sources[0], **sources[1]}
        return self._out

    def _weights(self, account: str, now: float) -> Weights:
        """Return the weights at this share of the caller's budget."""
        used = self._wallet.used(account, now)
        weights = self._settings.weights
        for share, thrifty in self._settings.thrift:
            if used >= share:
                weights = thrifty
        return weights

    def _end(self, job: Job, status: int, endpoint: Endpoint | None = None) -> None:
        """Count and log the end of a job; `endpoint` is the one that answered."""
        self._recorder.active(-1)
        self._record(job, status, endpoint)

    def _record(self, job: Job, status: int, endpoint: Endpoint | None = None) -> None:
        record = of_job(job, status, endpoint, self._clock.monotonic())
        self._recorder.record(record)
        if self._decisions is not None:
            self._decisions.append(job, record, endpoint)

    def _job(
        self, request_id: str, caller: Caller, request: ChatRequest, decision: Decision
    ) -> Job:
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
