"""What the gateway hands to the rim: a whole answer, or a stream to be sent on."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from compass_ray.gateway.attempts import Completed
from compass_ray.gateway.job import Job
from compass_ray.gateway.streams import OpenStream
from compass_ray.types.routing import Endpoint


@dataclass(frozen=True, slots=True)
class Reply:
    """What the rim sends: a whole `body`, or `chunks()`; close it in every case."""

    job: Job
    result: Completed | OpenStream
    end: Callable[[Job, int, Endpoint], None]
    """Notes the end of a stream."""

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
            self.end(self.job, self.result.status, self.endpoint)
