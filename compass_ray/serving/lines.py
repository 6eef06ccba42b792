"""Requests that come from a batch: through the same doors, answered once per key."""

from collections.abc import Mapping

import orjson

from compass_ray.doors.base import Door
from compass_ray.doors.chat import ChatDoor, EmbeddingsDoor
from compass_ray.doors.responses import ResponsesDoor
from compass_ray.gateway.once import Once, Replay
from compass_ray.serving.http import known, new_request_id
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Told
from compass_ray.types.errors import (
    AllAttemptsFailed,
    CompassError,
    IdempotencyUnavailable,
    TooManyRequests,
)

_DOORS: Mapping[str, Door] = {
    door.path: door for door in (ChatDoor(), EmbeddingsDoor(), ResponsesDoor())
}


_MAY_WAIT = {"x-compass-urgency": "batch"}
"""What each is asked with, where its body does not say otherwise."""


class Lines:
    """Answers single requests of batches for one replica."""

    def __init__(self, once: Once) -> None:
        self._once = once

    async def ask(self, endpoint: str, body: bytes, caller: Caller, key: str) -> Told:
        """Answer a body of that endpoint once per key, or say what is wrong.

        Raises:
            IdempotencyUnavailable: ask again with the same key.
        """
        door, request_id = _DOORS[endpoint], new_request_id()
        try:
            raw, visit = door.enter(body)
        except CompassError as error:
            return _refused(door, error, request_id)
        try:
            reply = await self._once.answer(raw, caller, request_id, key, _MAY_WAIT, kind=door.kind)
        except IdempotencyUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001  # every error has its shape
            return _refused(door, visit.named(known(exc, request_id)), request_id)
        if isinstance(reply, Replay):
            answer, request_id, usage = orjson.loads(reply.body()), reply.request_id, None
        else:
            answer, charge = reply.body or {}, reply.result.charge
            usage = None if charge is None else charge.usage
        cost = answer["compass"]["cost_micro_usd"]
        return Told(200, request_id, visit.answer(answer, usage), cost)


def _refused(door: Door, error: CompassError, request_id: str) -> Told:
    again = error.blame != "caller" or isinstance(error, TooManyRequests)
    cost = error.cost if isinstance(error, AllAttemptsFailed) else 0
    body = orjson.dumps(door.error(error, request_id))
    return Told(error.status, request_id, body, cost, again, error.retry_after)
