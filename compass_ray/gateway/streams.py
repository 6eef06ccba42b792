"""A streamed answer under way: every attempt's part of it is charged exactly once.

Where a part breaks off, the caller's `on_break` decides: the stream ends with the error, begins
anew, or goes on at another model (see `policy.continuation`). Either way its chunks are of one
stream, and a chunk that carries `compass.event` says what becomes of those before it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from compass_ray.gateway.call import Call
from compass_ray.gateway.job import Job
from compass_ray.gateway.records import of_attempts
from compass_ray.policy.billing import Charge, chars_of, tokens_of_text
from compass_ray.policy.continuation import Heard, Seam, continued, expecting, mark
from compass_ray.policy.pieces import in_pieces
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.errors import AllAttemptsFailed, CompassError, Defect
from compass_ray.types.routing import Endpoint
from compass_ray.types.usage import Usage

CLIENT_LEFT = 499
"""Status of a request whose client closed its connection (nginx's convention)."""


def status_of(error: BaseException) -> int:
    """Return the HTTP status that a request which ended so has in the books."""
    if isinstance(error, CompassError):
        return error.status
    return Defect.status if isinstance(error, Exception) else CLIENT_LEFT


class Part:
    """One attempt's part of a stream, past its first chunk; charged once, when it ends.

    Whoever delivers its chunks counts them: `chars` of text so far, and the provider's last word.
    """

    __slots__ = ("_call", "_ended", "chars", "chunks", "first", "usage")

    def __init__(self, call: Call, first: Chunk, chunks: AsyncIterator[Chunk]) -> None:
        self._call = call
        self._ended = False
        self.first = first
        self.chunks = chunks
        self.chars = 0
        self.usage: Usage | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Who answers."""
        return self._call.endpoint

    def succeed(self) -> Charge:
        """Charge the whole, and return the charge."""
        self._ended = True
        return self._call.succeed(self.usage, tokens_of_text(self.chars))

    def fail(self, error: CompassError) -> None:
        """Charge what came before the provider failed."""
        self._ended = True
        self._call.fail(error, self._partial_usage(), tokens_of_text(self.chars))

    def ended_by(self, error: CompassError) -> CompassError:
        """Return `error`, or the caller's own deadline, see `Call`."""
        return self._call.ended_by(error)

    async def close(self) -> None:
        """Stop the provider, and charge what it delivered unless that is done."""
        if not self._ended:
            self._ended = True
            self._call.abandon(self._partial_usage(), tokens_of_text(self.chars))
        if isinstance(self.chunks, AsyncGenerator):
            await self.chunks.aclose()

    def _partial_usage(self) -> Usage | None:
        """Return the provider's last word, raised to what was delivered since.

        It is an estimate even where nothing was raised: some begin with a usage, and a token in
        it that they have not produced yet.
        """
        if self.usage is None:
            return None
        tokens = max(self.usage.output_tokens, tokens_of_text(self.chars))
        return replace(self.usage, output_tokens=tokens, estimated=True)


async def told_in_pieces(answer: Answer) -> AsyncIterator[Chunk]:
    """Yield an answer that was held back until it was whole as the stream that was asked for."""
    chars = chars_of(answer.body)
    for body in in_pieces(answer.body):
        ends = any(choice["finish_reason"] for choice in body["choices"])
        yield Chunk(body, chars, answer.usage, answer.finish_reason if ends else None)
        chars = 0


class Resume(Protocol):
    """How a stream that broke off gets its next part."""

    async def __call__(
        self, job: Job[ChatRequest], broken: Endpoint, error: CompassError, *, prefill: bool
    ) -> Part:
        """Return it; with `prefill`, from an endpoint that goes on with an answer begun for it.

        Raises:
            CompassError: there is none.
        """


class OpenStream:
    """A stream past its first chunk: iterate `chunks()` once, then `close()` it.

    The charges are made before the iteration ends: after the provider's last chunk, at its
    failure, or when the caller leaves.
    """

    __slots__ = (
        *("_finished", "_heard", "_job", "_last", "_part", "_resume", "_seam"),
        *("charge", "status"),
    )

    def __init__(self, job: Job[ChatRequest], part: Part, resume: Resume) -> None:
        self._job = job
        self._part = part
        self._resume = resume
        self._finished = 0
        self._heard = Heard()
        self._last: Mapping[str, Any] = {"id": f"chatcmpl-{job.id}", "created": job.created}
        self._seam: Seam | None = None
        self.charge: Charge | None = None
        """For the part that ended well; None before."""
        self.status = CLIENT_LEFT
        """HTTP status for the books: 200 once complete, the failure's after one."""

    @property
    def endpoint(self) -> Endpoint:
        """Who answers at the moment."""
        return self._part.endpoint

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield every chunk.

        Raises:
            CompassError: the provider failed, and nobody took over; all that was delivered is
                charged.
        """
        listens = self._job.request.preferences.on_break != "error"
        part = self._part
        while True:
            chunk: Chunk | None = part.first
            try:
                while chunk is not None:
                    part.chars += chunk.output_chars
                    part.usage = chunk.usage or part.usage
                    if chunk.finish_reason is not None:
                        self._finished += 1
                    yield self._joined(chunk) if listens else chunk
                    chunk = await anext(part.chunks, None)
            except CompassError as error:
                broken = part.ended_by(error)
            except Exception as error:
                self.status = status_of(error)
                raise
            else:
                break
            if self._finished >= self._job.request.n:
                break  # all that is missing is the count of tokens
            part = await self._next_part(part, broken)
            yield self._mark()
        self.charge = part.succeed()
        self.status = 200

    async def close(self) -> None:
        """Stop the provider and charge what it delivered, unless that is done."""
        await self._part.close()

    def _joined(self, chunk: Chunk) -> Chunk:
        """Return the chunk as one of this stream, and remember what it says."""
        if chunk.body is None:
            return chunk
        if self._seam is not None:
            chunk = replace(chunk, body=self._seam.join(chunk.body))
        self._last = chunk.body or self._last
        self._heard.add(self._last)
        return chunk

    async def _next_part(self, part: Part, error: CompassError) -> Part:
        """Return the part after one that broke off."""
        part.fail(error)
        self._finished = 0
        try:
            self._part = await self._resumed(part.endpoint, error)
        except Exception as last:
            self.status = status_of(last)
            raise
        return self._part

    async def _resumed(self, broken: Endpoint, error: CompassError) -> Part:
        job, heard = self._job, self._heard
        on_break = job.request.preferences.on_break
        request = continued(job.request, heard) if on_break == "continue" else job.request
        if on_break == "error" or request is None:
            raise AllAttemptsFailed(error, of_attempts(job.attempts)) from error
        prefill = request is not job.request
        if prefill:
            job = replace(job, request=request, decision=expecting(job.decision, heard))
        part = await self._resume(job, broken, error, prefill=prefill)
        self._seam = Seam(self._last, heard.blanks if on_break == "continue" else "")
        return part

    def _mark(self) -> Chunk:
        """Return the chunk that says what becomes of those before it, and who answers now."""
        request, endpoint = self._job.request, self.endpoint
        told = {"endpoint": endpoint.id, "attempts": of_attempts(self._job.attempts)}
        return Chunk(
            mark(self._last, request.preferences.on_break, request.n, endpoint.model, told)
        )
