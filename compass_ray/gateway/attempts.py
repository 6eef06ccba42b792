"""From an ordered list of candidates to one answer: fail over, retry, charge each attempt once."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from compass_ray.gateway.admission import Admission, Hold
from compass_ray.gateway.job import Clock, Job
from compass_ray.gateway.ports import Provider
from compass_ray.gateway.streams import OpenStream
from compass_ray.policy.billing import Charge, tokens_of_text, tokens_of_time
from compass_ray.policy.pricing import amounts
from compass_ray.policy.retry import (
    RetryPolicy,
    Verdict,
    after,
    may_have_produced,
    may_try_again,
)
from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Answer
from compass_ray.types.errors import (
    AllAttemptsFailed,
    BrokenStream,
    BudgetExceeded,
    CompassError,
    InvalidRequest,
    NoEndpoint,
    QuotaExhausted,
    RateLimited,
)
from compass_ray.types.events import Attempt
from compass_ray.types.routing import Endpoint

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Completed:
    """A whole answer."""

    endpoint: Endpoint
    answer: Answer


class Attempts:
    """Runs jobs against the providers, by name."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        admission: Admission,
        policy: RetryPolicy,
        clock: Clock,
    ) -> None:
        self._providers = providers
        self._admission = admission
        self._policy = policy
        self._clock = clock
        self._in_progress = 0
        self._retrying = 0

    async def complete(self, job: Job) -> Completed:
        """Return the first whole answer.

        Raises:
            AllAttemptsFailed, NoEndpoint, BudgetExceeded, LedgerUnavailable
        """

        async def call(hold: Hold) -> Completed:
            endpoint = hold.endpoint
            state = _state(job, endpoint)
            answer = await self._providers[endpoint.provider].complete(
                job.request, endpoint, state, job.deadline
            )
            hold.rest(state.rests_for)
            text = answer.body["choices"][0].get("message", {}).get("content") or ""
            hold.succeed(job.bill(endpoint, answer.usage, tokens_of_text(len(text))))
            return Completed(endpoint, answer)

        return await self._first_success(job, call)

    async def open(self, job: Job) -> OpenStream:
        """Return the first stream that delivered a chunk; after that nothing is retried.

        Raises:
            AllAttemptsFailed, NoEndpoint, BudgetExceeded, LedgerUnavailable
        """

        async def call(hold: Hold) -> OpenStream:
            endpoint = hold.endpoint
            state = _state(job, endpoint)
            chunks = self._providers[endpoint.provider].stream(
                job.request, endpoint, state, job.deadline
            )
            try:
                first = await anext(aiter(chunks))
            except StopAsyncIteration:
                raise BrokenStream(f"{endpoint.id} sent an empty stream") from None
            hold.rest(state.rests_for)
            job.first_byte_at = self._clock.monotonic()
            return OpenStream(job, hold, first, chunks)

        return await self._first_success(job, call)

    async def _first_success(self, job: Job, call: Callable[[Hold], Awaitable[_T]]) -> _T:
        self._in_progress += 1
        try:
            return await self._try_each(job, call)
        finally:
            self._in_progress -= 1

    async def _try_each(self, job: Job, call: Callable[[Hold], Awaitable[_T]]) -> _T:
        queue = deque([(endpoint, 0.0) for endpoint in job.decision.endpoints])
        refused: CompassError | None = None
        while queue and len(job.attempts) < self._policy.max_attempts:
            endpoint, wait = queue.popleft()
            try:
                result = await self._try_one(job, call, endpoint, wait)
            except (BudgetExceeded, RateLimited, QuotaExhausted) as error:
                refused = error  # a cheaper candidate, or another provider's, may still fit
                continue
            if result is None:
                continue
            if not isinstance(result, _Failed):
                return result
            refused = _telling(refused, result.error)
            if not result.verdict.elsewhere:
                break
            if result.verdict.again_after is not None:
                queue.append((endpoint, result.verdict.again_after))
        if refused is None:
            raise NoEndpoint("every endpoint that fits is out of service at the moment")
        if not job.attempts:
            raise refused
        raise AllAttemptsFailed(refused, [_report(attempt) for attempt in job.attempts])

    async def _try_one(
        self, job: Job, call: Callable[[Hold], Awaitable[_T]], endpoint: Endpoint, wait: float
    ) -> "_T | _Failed | None":
        """Return what came of it; None where it was not tried. A `wait` makes it a retry."""
        is_retry = wait > 0
        if is_retry and not may_try_again(self._retrying, self._in_progress, self._policy):
            return None
        self._retrying += is_retry
        try:
            hold = await self._admit(job, endpoint, wait)
            return None if hold is None else await self._attempt(job, hold, call)
        finally:
            self._retrying -= is_retry

    async def _admit(self, job: Job, endpoint: Endpoint, wait: float) -> Hold | None:
        """Return a hold after `wait` seconds; None where the deadline or the circuit forbids it.

        Who comes back after a rate limit waits as long as its circuit does: every replica's view
        of the cooldown ends a little later than the provider's `retry_after` said.
        """
        while wait:
            if wait > self._policy.backoff_max or self._clock.monotonic() + wait > job.deadline:
                return None
            await self._clock.sleep(wait)
            wait = self._admission.cools_for(endpoint)
        needed = amounts(job.request, endpoint, job.decision.classification)
        reservation = f"{job.id}/{len(job.attempts)}"
        return await self._admission.hold(reservation, job.caller.account, endpoint, needed)

    async def _attempt(
        self, job: Job, hold: Hold, call: Callable[[Hold], Awaitable[_T]]
    ) -> "_T | _Failed":
        started = self._clock.monotonic()
        try:
            result = await call(hold)
        except CompassError as error:
            self._note(job, hold.endpoint, started, error)
            hold.fail(error, self._unheard(job, hold.endpoint, started, error))
            verdict = after(error, len(job.attempts), self._policy, self._clock.uniform())
            return _Failed(error, verdict)
        except BaseException:
            hold.abandon(self._unheard(job, hold.endpoint, started, None))
            raise
        self._note(job, hold.endpoint, started, None)
        return result

    def _unheard(
        self, job: Job, endpoint: Endpoint, started: float, error: CompassError | None
    ) -> Charge | None:
        """Return the charge of a call whose end nobody heard; None if nothing was produced."""
        if error is not None and not may_have_produced(error):
            return None
        seconds = self._clock.monotonic() - started
        tokens = tokens_of_time(seconds, endpoint, job.decision.classification)
        return job.bill(endpoint, None, tokens)

    def _note(
        self, job: Job, endpoint: Endpoint, started: float, error: CompassError | None
    ) -> None:
        seconds = self._clock.monotonic() - started
        name, message = ("", "") if error is None else (type(error).__name__, error.message)
        job.attempts.append(Attempt(endpoint.id, error is None, seconds, name, message))


@dataclass(frozen=True, slots=True)
class _Failed:
    error: CompassError
    verdict: Verdict


def _state(job: Job, endpoint: Endpoint) -> StreamState:
    return StreamState(f"chatcmpl-{job.id}", job.created, endpoint.model)


def _telling(first: CompassError | None, second: CompassError) -> CompassError:
    """Return the error to report: what one wire cannot express says less than a real failure."""
    return first if first is not None and isinstance(second, InvalidRequest) else second


def _report(attempt: Attempt) -> dict[str, str | float]:
    return {
        "endpoint": attempt.endpoint,
        "error": attempt.error,
        "message": attempt.message,
        "seconds": round(attempt.seconds, 4),
    }
