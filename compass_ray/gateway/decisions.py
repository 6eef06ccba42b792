"""A replica's decisions on their way to the Learner: kept as references, told in batches.

A request only appends what it has at hand. What was decided, with candidates, exclusions and
reasons, is put into words later, at most 200 a second: remembering stays a small part of the work
however many requests there are. Until then a reference holds its request, so both their number and
their bytes are bounded, and what comes when they are full is forgotten: of a rush a sample is kept.
"""

import asyncio
import logging
from collections import deque
from typing import Any, Protocol

import numpy as np
import orjson

from compass_ray.gateway.job import Job
from compass_ray.policy.belief import read
from compass_ray.policy.quality import QualityModel
from compass_ray.policy.retell import told
from compass_ray.types.decisions import Called, Note, Outcome
from compass_ray.types.errors import CapacityError, ProviderError
from compass_ray.types.events import Record
from compass_ray.types.routing import Endpoint

_log = logging.getLogger("compass.learner")

_EVERY_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0
_EACH_TIME = 40
_MOST = 500
_MOST_BYTES = 4 * 1024 * 1024
_AT_ONCE = 500
_SAY_EVERY_SECONDS = 60.0
_TURN = 8
"""Decisions put into words before others get their turn: about half a millisecond."""
_OK = 200
_FAULTS = frozenset(
    error.__name__ for base in (CapacityError, ProviderError) for error in base.__subclasses__()
)
"""What says something about the endpoint; its caller's mistakes and who left do not."""


class Store(Protocol):
    """The Learner actor, directly or through a handle."""

    async def note(self, notes: tuple[Note, ...]) -> None:
        """Keep decisions; safe to repeat."""


class DecisionLog:
    """What one replica decided and has not told yet."""

    def __init__(self, store: Store, model: QualityModel | None) -> None:
        self._store = store
        self._model = model
        self._ended: deque[tuple[Job[Any], Record, Endpoint | None]] = deque()
        self._bytes = 0
        self._notes: list[Note] = []
        self._lost = 0
        self._said = -_SAY_EVERY_SECONDS
        self._telling = asyncio.Lock()

    def append(self, job: Job[Any], record: Record, endpoint: Endpoint | None) -> None:
        """Remember how a job ended; `endpoint` is the one that answered."""
        size = job.request.input_bytes
        if len(self._ended) >= _MOST or self._bytes + size > _MOST_BYTES:
            self._lost += 1
            return
        self._ended.append((job, record, endpoint))
        self._bytes += size

    async def run(self) -> None:
        """Tell the Learner every fifth of a second, until cancelled."""
        silent = False
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self.flush(_EACH_TIME)
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                if not silent:
                    _log.warning("the learner is silent: %s", type(error).__name__)
                silent = True
            else:
                silent = False

    async def close(self) -> None:
        """Tell what is left, as far as somebody listens."""
        try:
            await self.flush()
        except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
            _log.warning("the last decisions were not told: %s", type(error).__name__)

    async def flush(self, most: int = _MOST) -> None:
        """Tell up to so many, the oldest first; what is not acknowledged is told again."""
        left = most
        async with self._telling:
            while left > 0 and (self._ended or self._notes):
                await self._word(min(left, _AT_ONCE))
                left -= len(self._notes)
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._store.note(tuple(self._notes))
                self._notes = []
        self._say_what_is_lost(asyncio.get_running_loop().time())

    def _say_what_is_lost(self, now: float) -> None:
        if self._lost and now - self._said >= _SAY_EVERY_SECONDS:
            _log.warning("%d decisions were forgotten: there were too many to keep", self._lost)
            self._lost, self._said = 0, now

    async def _word(self, count: int) -> None:
        """Put decisions into words until there are so many."""
        while self._ended and len(self._notes) < count:
            job, record, endpoint = self._ended.popleft()
            self._bytes -= job.request.input_bytes
            self._notes.append(_note(job, record, endpoint, self._model))
            if len(self._notes) % _TURN == 0:
                await asyncio.sleep(0)


def _note(
    job: Job[Any], record: Record, endpoint: Endpoint | None, model: QualityModel | None
) -> Note:
    decision = job.decision
    expectation, table = decision.classification.expectation, decision.evidence.table()
    tier = endpoint.tier if endpoint is not None and record.status == _OK else None
    features, expected = b"", None
    if expectation is not None and model is not None:
        features = read(expectation, model).astype(np.float32).tobytes()
        expected = None if tier is None else expectation.quality[tier]
    limit = job.request.max_output_tokens
    words = told(job.request, decision, table, record, endpoint)
    return Note(
        request_id=job.id,
        account=record.account,
        at=record.at,
        tier=0 if tier is None else int(tier),
        expected=expected,
        basis="" if model is None else model.basis,
        features=features,
        told=orjson.dumps(words),
        scores=table.scores.tobytes(),
        outcome=Outcome(
            task=decision.classification.task_type,
            endpoint="" if endpoint is None else endpoint.id,
            status=record.status,
            cost=record.cost,
            seconds=record.seconds,
            output_tokens=record.usage.output_tokens // job.request.n,
            calls=tuple(
                Called(one.endpoint, one.ok, one.seconds)
                for one in record.attempts
                if one.ok or one.error in _FAULTS
            ),
            ruled_tokens=decision.classification.ruled_output_tokens
            if limit is None
            else min(decision.classification.ruled_output_tokens, limit),
        ),
        arm=decision.arm,
    )
