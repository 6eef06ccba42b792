"""What the headers of an answer say: who gave it, what it costs, and whether it is told again."""

from functools import lru_cache

from compass_ray.doors.base import Headers
from compass_ray.gateway.once import Replay
from compass_ray.gateway.reply import Reply
from compass_ray.types.usage import Money, dollars

REQUEST_ID = b"x-compass-request-id"


def of_reply(reply: Reply, remaining: Money | None) -> Headers:
    """Say who answers and what it costs; a stream's cost is not known when it begins."""
    endpoint, job = reply.endpoint, reply.job
    headers = [
        (REQUEST_ID, job.id.encode()),
        (b"x-compass-attempts", b"%d" % len(job.attempts)),
        *_who(endpoint.provider, endpoint.model, endpoint.tier),
    ]
    if reply.result.charge is not None:
        headers.append(_cost(job.cost))
    if job.assessments:
        escalations = sum(one.outcome == "escalated" for one in job.assessments)
        headers.append((b"x-compass-escalations", b"%d" % escalations))
    if remaining is not None:
        headers.append(_remaining(remaining))
    return headers


def of_replay(replay: Replay, remaining: Money | None) -> Headers:
    """Say whose answer is told again; it costs nothing, and nobody is called."""
    answer = replay.answer
    headers = [
        (REQUEST_ID, replay.request_id.encode()),
        (b"idempotent-replayed", b"true"),
        (b"x-compass-attempts", b"0"),
        *_who(answer.provider, answer.model, answer.tier),
        _cost(0),
    ]
    if remaining is not None:
        headers.append(_remaining(remaining))
    return headers


def _cost(cost: Money) -> tuple[bytes, bytes]:
    return b"x-compass-cost-usd", dollars(cost).encode()


def _remaining(remaining: Money) -> tuple[bytes, bytes]:
    return b"x-compass-remaining-budget-usd", dollars(remaining).encode()


@lru_cache(maxsize=1024)
def _who(provider: str, model: str, tier: int) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"x-compass-provider", provider.encode("latin-1", "replace")),
        (b"x-compass-model", model.encode("latin-1", "replace")),
        (b"x-compass-tier", b"%d" % tier),
    )
