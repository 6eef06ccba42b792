"""From an ordered list of candidates to one answer: fail over, retry, charge each attempt once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from compass_ray.gateway.admission import Admission
from compass_ray.gateway.call import Call
from compass_ray.gateway.course import Course
from compass_ray.gateway.hedge import race
from compass_ray.gateway.job import Clock, Job
from compass_ray.gateway.ports import Provider
from compass_ray.gateway.records import of_attempts
from compass_ray.gateway.streams import OpenStream, Part, told_in_pieces
from compass_ray.policy.billing import Charge, chars_of, tokens_of_text
from compass_ray.policy.instruct import (
    instructed,
    is_instructed,
    kept,
    may_be_mended,
    mended,
    missed,
)
from compass_ray.policy.pricing import amounts, worst_case
from compass_ray.policy.refusal import refusal
from compass_ray.policy.retry import RetryPolicy, after, may_try_again
from compass_ray.types.chat import Answer, ChatRequest
from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.errors import (
    AllAttemptsFailed,
    BrokenStream,
    BudgetExceeded,
    CompassError,
    DeadlineExceeded,
    InvalidRequest,
    LedgerUnavailable,
    NoEndpoint,
    QuotaExhausted,
    RateLimited,
    SchemaMissed,
    TooManyRequests,
)
from compass_ray.types.requests import Request
from compass_ray.types.routing import Endpoint, Evidence
from compass_ray.types.usage import Usage

_T = TypeVar("_T", "Completed", Part)


class Completed(NamedTuple):
    """A whole answer."""

    endpoint: Endpoint
    answer: Answer
    charge: Charge


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

    async def complete(self, job: Job[ChatRequest]) -> Completed:
        """Return the first whole answer.

        Raises:
            AllAttemptsFailed, NoEndpoint, BudgetExceeded, LedgerUnavailable
        """
        return await self._first_success(job, Course(job.decision.endpoints), self._whole)

    async def another(self, job: Job[ChatRequest], endpoints: Sequence[Endpoint]) -> Completed:
        """Return a whole answer of these endpoints, beside one that is there; it is a retry.

        Raises:
            NoEndpoint: none of them can be called, or too many requests are trying again.
            AllAttemptsFailed, BudgetExceeded, LedgerUnavailable
        """
        if not self._may_try_again():
            raise NoEndpoint("too many requests are trying again")
        self._retrying += 1
        try:
            return await self._first_success(job, Course(endpoints), self._whole)
        finally:
            self._retrying -= 1

    async def embed(self, job: Job[EmbeddingRequest]) -> Completed:
        """Return the first vectors; see `policy.embeddings` for who is asked.

        Raises:
            CompassError: all attempts failed, or none was possible.
        """
        return await self._first_success(job, Course(job.decision.endpoints), self._vectors)

    async def open(self, job: Job[ChatRequest]) -> OpenStream:
        """Return the first stream that delivered a chunk.

        Raises:
            AllAttemptsFailed, NoEndpoint, BudgetExceeded, LedgerUnavailable
        """
        course = Course(job.decision.endpoints)
        part = await self._first_success(job, course, self._part)
        job.first_byte_at = self._clock.monotonic()
        return OpenStream(job, part, partial(self._resume, course))

    async def _resume(
        self,
        course: Course,
        job: Job[ChatRequest],
        broken: Endpoint,
        error: CompassError,
        *,
        prefill: bool,
    ) -> Part:
        """Return the next part of a stream whose part at `broken` ended with `error`."""
        self._learn(job, course, broken, error)
        if prefill:
            course.keep(lambda one: self._providers[one.provider].prefills(one))
        return await self._first_success(job, course, self._part)

    async def _whole(self, job: Job[ChatRequest], call: Call) -> Completed:
        endpoint = call.endpoint
        answer = await self._providers[endpoint.provider].complete(
            job.request, endpoint, call.state, job.deadline
        )
        call.rest(call.state.rests_for)
        return Completed(endpoint, answer, call.succeed(*_produced(answer)))

    async def _vectors(self, job: Job[EmbeddingRequest], call: Call) -> Completed:
        endpoint = call.endpoint
        answer = await self._providers[endpoint.provider].embed(
            job.request, endpoint, call.state, job.deadline
        )
        call.rest(call.state.rests_for)
        charge = call.succeed(answer.usage, 0)
        tokens = charge.usage.input_tokens
        answer.body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Completed(endpoint, answer, charge)

    async def _checked(
        self, course: Course, asked: ChatRequest, job: Job[ChatRequest], call: Call
    ) -> Any:
        """Return an answer that keeps to the schema of the request `asked`, as whole or a stream.

        Raises:
            SchemaMissed: it does not; what mends it is the next to be tried.
        """
        endpoint = call.endpoint
        call.state.made_good = ("response_format: told in words, and checked",)
        answer = await self._providers[endpoint.provider].complete(
            job.request, endpoint, call.state, job.deadline
        )
        call.rest(call.state.rests_for)
        answer = kept(answer)
        miss = missed(asked, answer)
        usage, tokens = _produced(answer)
        if miss is not None:
            call.produce(usage, tokens)
            if may_be_mended(miss):
                course.mend(endpoint, mended(job.request, miss))
            raise SchemaMissed(f"the answer of {endpoint.id} {miss[1]}", code="schema_missed")
        if not asked.stream:
            return Completed(endpoint, answer, call.succeed(usage, tokens))
        chunks = told_in_pieces(answer)
        call.begin()
        return Part(call, await anext(chunks), chunks)

    async def _part(self, job: Job[ChatRequest], call: Call) -> Part:
        endpoint = call.endpoint
        chunks = self._providers[endpoint.provider].stream(
            job.request, endpoint, call.state, job.deadline
        )
        try:
            first = await anext(aiter(chunks))
        except StopAsyncIteration:
            raise BrokenStream(f"{endpoint.id} sent an empty stream") from None
        call.rest(call.state.rests_for)
        call.begin()
        return Part(call, first, chunks)

    async def _first_success(self, job: Job[Any], course: Course, ask: "_Ask[_T]") -> _T:
        self._in_progress += 1
        try:
            return await self._try_each(job, course, ask)
        finally:
            self._in_progress -= 1

    async def _try_each(self, job: Job[Any], course: Course, ask: "_Ask[_T]") -> _T:
        while len(job.attempts) < self._policy.max_attempts and (following := course.next()):
            try:
                answer = await self._try_one(job, course, ask, *following)
            except (BudgetExceeded, RateLimited, QuotaExhausted, InvalidRequest) as error:
                # A cheaper candidate, another provider's, or one that knows schemas, may fit.
                course.fail(error)
                continue
            except (DeadlineExceeded, TooManyRequests, LedgerUnavailable) as error:
                course.fail(error)
                break
            if answer is not None:
                return answer
        if course.failure is None:
            raise NoEndpoint("every endpoint that fits is out of service at the moment")
        if not job.attempts:
            raise _or_outage(course.failure, job.decision.evidence)
        raise AllAttemptsFailed(course.failure, of_attempts(job.attempts))

    async def _try_one(
        self, job: Job[Any], course: Course, ask: "_Ask[_T]", endpoint: Endpoint, wait: float
    ) -> _T | None:
        """Return the answer; None where there is none. A `wait` makes it a retry."""
        is_retry = wait > 0 or (bool(course.mended) and endpoint.id in course.mended)
        if is_retry and not self._may_try_again():
            return None
        self._retrying += is_retry
        try:
            told, put = job, ask
            if job.request.needs:
                told, put = self._told(job, course, ask, endpoint)
            call = await self._admit(told, endpoint, wait)
            if call is None:
                return None
            first = self._attempt(told, course, put, call)
            own = job.request.preferences.hedge_after
            delay = self._policy.hedge_after if own is None else own
            if delay is None:
                return await first
            second = partial(self._hedge, job, course, ask, (told.request, endpoint))
            return await race(first, second, self._clock.sleep(delay), _withdraw)
        finally:
            self._retrying -= is_retry

    async def _hedge(
        self, job: Job[Any], course: Course, ask: "_Ask[_T]", beside: tuple[Request, Endpoint]
    ) -> _T | None:
        """Return the answer of the next candidate, tried beside another; None where there is none.

        It may cost what is left when the other one costs its worst.
        """
        if len(job.attempts) >= self._policy.max_attempts or not self._may_try_again():
            return None
        endpoint = course.next_untried()
        if endpoint is None:
            return None
        try:
            told, put = self._told(job, course, ask, endpoint)
        except InvalidRequest:
            return None  # it cannot be told what to do, and the other one goes on
        costs = [worst_case(*one) for one in (beside, (told.request, endpoint))]
        if not job.affords(None if None in costs else sum(cost or 0 for cost in costs)):
            course.put_back(endpoint)
            return None
        self._retrying += 1
        try:
            call = await self._admitted(told, endpoint)
            if call is None:  # it may be admitted when the other one has failed
                course.put_back(endpoint)
                return None
            return await self._attempt(told, course, put, call)
        finally:
            self._retrying -= 1

    async def _admitted(self, job: Job[Any], endpoint: Endpoint) -> Call | None:
        try:
            return await self._admit(job, endpoint, wait=0.0)
        except CompassError:
            return None  # nothing but its admission failed, and the other one goes on

    def _told(
        self, job: Job[Any], course: Course, ask: "_Ask[_T]", endpoint: Endpoint
    ) -> tuple[Job[Any], "_Ask[_T]"]:
        """Return the job as the endpoint is to be told of it, and how it is asked.

        Raises:
            InvalidRequest: it would have to be told a schema in words, and that cannot be.
        """
        request = job.request
        if not is_instructed(request, endpoint):
            return job, ask
        told = course.mended.get(endpoint.id)
        if told is None:
            told = instructed(request, json_mode=self._providers[endpoint.provider].json_mode)
        return replace(job, request=told), partial(self._checked, course, request)

    def _may_try_again(self) -> bool:
        return may_try_again(self._retrying, self._in_progress, self._policy)

    async def _admit(self, job: Job[Any], endpoint: Endpoint, wait: float) -> Call | None:
        """Return a call after `wait` seconds; None where something forbids it.

        The circuit does, what the caller's cost limit leaves, and a wait beyond the deadline.

        Who comes back after a rate limit waits as long as its circuit does: every replica's view
        of the cooldown ends a little later than the provider's `retry_after` said.
        """
        while wait:
            if wait > self._policy.backoff_max or self._clock.monotonic() + wait > job.deadline:
                return None
            await self._clock.sleep(wait)
            wait = self._admission.cools_for(endpoint)
        needed = amounts(job.request, endpoint, job.decision.classification)
        if not job.affords(None if endpoint.price is None else needed.usd):
            return None
        reservation = f"{job.id}/{len(job.attempts)}"
        hold = await self._admission.hold(
            reservation, job.caller.account, endpoint, needed, job.deadline
        )
        if hold is not None and self._clock.monotonic() >= job.deadline:
            hold.abandon(None)
            raise job.out_of_time()
        return None if hold is None else Call(job, hold, self._clock.monotonic)

    async def _attempt(
        self, job: Job[Any], course: Course, ask: "_Ask[_T]", call: Call
    ) -> _T | None:
        try:
            return await ask(job, call)
        except CompassError as ended:
            error = call.ended_by(ended)
            call.fail_unheard(error)
            self._learn(job, course, call.endpoint, error)
            return None
        except BaseException:
            call.abandon_unheard()
            raise

    def _learn(
        self, job: Job[Any], course: Course, endpoint: Endpoint, error: CompassError
    ) -> None:
        verdict = after(error, len(job.attempts), self._policy, self._clock.uniform())
        course.learn(endpoint, error, verdict)


_Ask = Callable[[Job[Any], Call], Awaitable[_T]]
"""How an admitted call is made."""


def _or_outage(error: CompassError, evidence: Evidence) -> CompassError:
    """Return `error`, or where the request is at fault just for those left, who was missing."""
    if isinstance(error, InvalidRequest):
        excluded = evidence.excluded()
        if any(one.kind == "unavailable" for one in excluded):
            return refusal(excluded)
    return error


def _produced(answer: Answer) -> tuple[Usage | None, int]:
    """Return the provider's word, and our own count of the output where that is not credible."""
    told = answer.usage is not None and answer.usage.is_credible()
    return answer.usage, 0 if told else tokens_of_text(chars_of(answer.body))


async def _withdraw(answer: Completed | Part) -> None:
    """Stop an answer that nobody waits for; a whole one has been charged already."""
    if isinstance(answer, Part):
        await answer.close()
