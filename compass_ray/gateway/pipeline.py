"""The path of one request. Read it top to bottom; that is the architecture.

    authenticate → parse → classify → select → admit → call → normalise → settle → record

Everything up to `select` is a pure function of the request and of local snapshots. `Attempts`
admits (circuit and money), calls (a provider's wire, which also normalises) and settles, once
per attempt. No step reaches back; no step waits for an actor, unless a budget is nearly used up.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from compass_ray.gateway.attempts import Attempts, Completed
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.job import Clock, Job
from compass_ray.gateway.parse import parse
from compass_ray.gateway.ports import Circuits, Directory, Recorder, Wallet
from compass_ray.gateway.streams import CLIENT_LEFT, OpenStream
from compass_ray.policy.classify import classify
from compass_ray.policy.refusal import refusal
from compass_ray.policy.rules import Rules
from compass_ray.policy.select import Catalogue, Conditions, Weights, select
from compass_ray.types.accounts import Caller
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import CompassError
from compass_ray.types.events import Record
from compass_ray.types.routing import Decision, Endpoint
from compass_ray.types.usage import MAX_MONEY, Money, Usage


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
    ) -> None:
        self._settings = settings
        self._attempts = attempts
        self._directory = directory
        self._circuits = circuits
        self._wallet = wallet
        self._recorder = recorder
        self._clock = clock

    def authenticate(self, credential: str | None) -> Caller:
        """Return who is calling; asked before the body is read.

        Raises:
            Unauthenticated
        """
        return self._settings.callers.authenticate(credential)

    async def chat(self, raw: bytes, caller: Caller, request_id: str) -> "Reply":
        """Answer a chat-completions body.

        Raises:
            CompassError: whose fault it is, is in its `blame`; nothing is charged that was not
                produced.
        """
        request = parse(raw, self._settings.limits)
        decision = self.decide(request, caller)
        job = self._job(request_id, caller, request, decision)
        try:
            if request.stream:
                return Reply(self, job, await self._attempts.open(job))
            completed = await self._attempts.complete(job)
        except CompassError as error:
            self.record(job, error.status)
            raise
        except BaseException:
            self.record(job, CLIENT_LEFT)
            raise
        self.record(job, 200, completed.endpoint)
        return Reply(self, job, completed)

    def dry_run(self, raw: bytes, caller: Caller) -> Decision:
        """Return the decision about a body without acting on it."""
        return self.decide(parse(raw, self._settings.limits), caller)

    def decide(self, request: ChatRequest, caller: Caller) -> Decision:
        """Return the ordered candidates for `request`, and why the others are out.

        Raises:
            UnknownModel, NoEndpoint, InvalidRequest: there is no candidate.
        """
        settings = self._settings
        now = self._clock.wall()
        unavailable = {**self._directory.unavailable(), **self._circuits.excluded(now)}
        remaining = self._wallet.remaining(caller.account, now)
        conditions = Conditions(unavailable, caller.allowed_models, remaining)
        classification = classify(request, settings.rules)
        decision = select(request, classification, settings.catalogue, conditions, settings.weights)
        if not decision.candidates and remaining is not None:
            # What remains is an estimate: the wallet has the last word on money.
            unbound = replace(conditions, remaining=MAX_MONEY)
            decision = select(
                request, classification, settings.catalogue, unbound, settings.weights
            )
        if not decision.candidates:
            raise refusal(decision, unavailable)
        return decision

    def remaining(self, account: str) -> Money | None:
        """Return what the account may still spend, in micro-dollars; None without a budget."""
        return self._wallet.remaining(account, self._clock.wall())

    def record(self, job: Job, status: int, endpoint: Endpoint | None = None) -> None:
        """Count and log the end of a request; `endpoint` is the one that answered."""
        first = job.first_byte_at
        self._recorder.record(
            Record(
                request_id=job.id,
                account=job.account,
                provider=endpoint.provider if endpoint else "",
                model=endpoint.model if endpoint else "",
                tier=int(endpoint.tier) if endpoint else 0,
                status=status,
                stream=job.request.stream,
                attempts=tuple(job.attempts),
                usage=job.charges[-1].usage if job.charges else Usage(),
                cost=job.cost,
                seconds=self._clock.monotonic() - job.started,
                ttft=None if first is None else first - job.started,
                at=job.created,
            )
        )

    def _job(
        self, request_id: str, caller: Caller, request: ChatRequest, decision: Decision
    ) -> Job:
        started = self._clock.monotonic()
        return Job(
            id=request_id,
            account=caller.account,
            request=request,
            decision=decision,
            deadline=started + self._settings.timeout,
            started=started,
            created=int(self._clock.wall()),
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What the rim sends: a whole `body`, or `chunks()`; close it in every case."""

    gateway: Gateway
    job: Job
    result: Completed | OpenStream

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that answers."""
        return self.result.endpoint

    @property
    def body(self) -> dict[str, Any] | None:
        """The whole answer as OpenAI's `chat.completion`; None for a stream."""
        return self.result.answer.body if isinstance(self.result, Completed) else None

    def about(self) -> dict[str, Any]:
        """Return who answered and what it cost so far, JSON-ready."""
        endpoint = self.endpoint
        return {
            "request_id": self.job.id,
            "endpoint": endpoint.id,
            "tier": int(endpoint.tier),
            "cost_micro_usd": self.job.cost,
            "attempts": [asdict(attempt) for attempt in self.job.attempts],
        }

    async def chunks(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield OpenAI's `chat.completion.chunk` objects, as far as the caller asked for them.

        Raises:
            CompassError: the provider failed in mid-stream.
        """
        if isinstance(self.result, Completed):
            return
        usage: dict[str, Any] | None = None
        async for chunk in self.result.chunks():
            body = chunk.body
            if body is None:
                continue
            if body["choices"]:
                yield body
            else:
                usage = body
        if usage is not None and self.job.request.include_usage:
            yield usage | {"compass": {"cost_micro_usd": self.job.cost}}

    async def close(self) -> None:
        """Stop what still runs, charge it, and record the end of a stream."""
        if isinstance(self.result, OpenStream):
            await self.result.close()
            self.gateway.record(self.job, self.result.status, self.endpoint)
