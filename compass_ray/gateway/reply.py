"""What the gateway hands to the rim: a whole answer, or a stream to be sent on."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compass_ray.gateway.attempts import Completed
from compass_ray.gateway.job import Job
from compass_ray.gateway.records import of_attempts
from compass_ray.gateway.streams import OpenStream, told_in_pieces
from compass_ray.policy.billing import Charge
from compass_ray.policy.retell import assessed
from compass_ray.types.routing import Endpoint
from compass_ray.types.usage import Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """What the rim sends: a whole `body`, or `chunks()`; close it in every case."""

    job: Job[Any]
    result: Completed | OpenStream
    end: Callable[[Job[Any], int, Endpoint], None]
    """Notes the end of a stream."""

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that answers."""
        return self.result.endpoint

    @property
    def is_stream(self) -> bool:
        """Whether the caller gets it in chunks: also an answer that was held back until whole."""
        return bool(self.job.request.stream)

    @property
    def body(self) -> dict[str, Any] | None:
        """The whole answer in OpenAI's JSON; None for a stream."""
        if not isinstance(self.result, Completed) or self.is_stream:
            return None
        return {**self.result.answer.body, "compass": self.about()}

    def about(self) -> dict[str, Any]:
        """Return who answered, after which attempts, and what all of them cost, JSON-ready.

        While a stream is under way its cost is not known, and left out.
        """
        job, endpoint = self.job, self.endpoint
        told: dict[str, Any] = {
            "request_id": job.id,
            "endpoint": endpoint.id,
            "tier": int(endpoint.tier),
            "attempts": of_attempts(job.attempts),
        }
        charge = self.result.charge
        if charge is not None:
            told["cost_micro_usd"] = job.cost
            if charge.usage.estimated:
                told["usage_estimated"] = True
        if job.assessments:
            told["assessments"] = assessed(job.assessments)
        return told

    async def chunks(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield OpenAI's `chat.completion.chunk` objects, as far as the caller asked for them.

        The last one tells what `about` does: the one without choices, where the caller asked for
        usage, else the one with the finish reason.

        Raises:
            CompassError: the provider failed in mid-stream.
        """
        include_usage = self.job.request.include_usage
        last: Mapping[str, Any] = {}
        result = self.result
        pieces = told_in_pieces(result.answer) if isinstance(result, Completed) else result.chunks()
        async for chunk in pieces:
            body = chunk.body
            if body is None:
                continue
            last = body
            if not body["choices"]:
                continue
            if chunk.finish_reason is None or include_usage:
                yield body
            else:
                yield {**body, "compass": self.about()}
        if include_usage:
            usage = last.get("usage") or _charged(self.result.charge)
            yield {**last, "choices": [], "usage": usage, "compass": self.about()}

    async def close(self) -> None:
        """Stop what still runs, charge it, and record the end of a stream."""
        if isinstance(self.result, OpenStream):
            await self.result.close()
            self.end(self.job, self.result.status, self.endpoint)


def _charged(charge: Charge | None) -> dict[str, int]:
    """Return OpenAI's `usage` where the provider said nothing: what was charged for."""
    usage = Usage() if charge is None else charge.usage
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
