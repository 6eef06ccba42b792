"""A streamed answer under way, charged exactly once whatever ends it."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from compass_ray.gateway.admission import Hold
from compass_ray.gateway.job import Job
from compass_ray.policy.billing import Charge, tokens_of_text
from compass_ray.types.chat import Chunk
from compass_ray.types.errors import CompassError, Defect
from compass_ray.types.usage import Usage

CLIENT_LEFT = 499
"""Status of a request whose client closed its connection (nginx's convention)."""


def status_of(error: BaseException) -> int:
    """Return the HTTP status that a request which ended so has in the books."""
    if isinstance(error, CompassError):
        return error.status
    return Defect.status if isinstance(error, Exception) else CLIENT_LEFT


class OpenStream:
    """A stream past its first chunk: iterate `chunks()` once, then `close()` it.

    The charge is made before the iteration ends: after the provider's last chunk, at its
    failure, or when the caller leaves.
    """

    __slots__ = (
        "_chars",
        "_chunks",
        "_ended",
        "_first",
        "_hold",
        "_job",
        "_usage",
        "endpoint",
        "status",
    )

    def __init__(self, job: Job, hold: Hold, first: Chunk, chunks: AsyncIterator[Chunk]) -> None:
        self._job = job
        self._hold = hold
        self._first = first
        self._chunks = chunks
        self._chars = 0
        self._usage: Usage | None = None
        self.endpoint = hold.endpoint
        self._ended = False
        self.status = CLIENT_LEFT
        """HTTP status for the books: 200 once complete, the failure's after one."""

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Yield every chunk.

        Raises:
            CompassError: the provider failed; what it delivered is charged.
        """
        chunk: Chunk | None = self._first
        try:
            while chunk is not None:
                self._usage = chunk.usage or self._usage
                self._chars += chunk.output_chars
                yield chunk
                chunk = await anext(self._chunks, None)
        except CompassError as error:
            self._fail(error)
            raise
        except Exception as error:
            self.status = status_of(error)
            raise
        self._ended = True
        self.status = 200
        self._hold.succeed(self._due(self._usage))

    async def close(self) -> None:
        """Stop the provider and charge what it delivered, unless that is done."""
        if not self._ended:
            self._ended = True
            self._hold.abandon(self._due(self._partial_usage()))
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()

    def _fail(self, error: CompassError) -> None:
        self._ended = True
        self.status = error.status
        self._hold.fail(error, self._due(self._partial_usage()))
        attempts = self._job.attempts
        name = type(error).__name__
        attempts[-1] = replace(attempts[-1], ok=False, error=name, message=error.message)

    def _partial_usage(self) -> Usage | None:
        """Return the provider's last word, raised to what was delivered since."""
        delivered = tokens_of_text(self._chars)
        usage = self._usage
        if usage is None or usage.output_tokens >= delivered:
            return usage
        return replace(usage, output_tokens=delivered, estimated=True)

    def _due(self, usage: Usage | None) -> Charge:
        return self._job.bill(self.endpoint, usage, tokens_of_text(self._chars))
