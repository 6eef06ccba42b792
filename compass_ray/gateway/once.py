"""Requests that carry an idempotency key: run once, and told again.

Only a whole answer is kept. A request that ended otherwise frees its key, whatever the error: the
next one runs. So does a caller who leaves: the run ends, what was produced is charged, and
somebody who asks again gets a run of his own.
"""

import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from compass_ray.gateway.idempotency import Claims
from compass_ray.gateway.job import Clock
from compass_ray.gateway.pipeline import Gateway
from compass_ray.gateway.ports import Recorder
from compass_ray.gateway.preferences import NO_HEADERS
from compass_ray.gateway.records import of_replay
from compass_ray.gateway.reply import Reply
from compass_ray.policy.idempotency import MOST_BYTES, checked, fingerprint
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import CompassError, IdempotencyKeyReused, RunInProgress
from compass_ray.types.idempotency import (
    Answered,
    Claim,
    InProgress,
    KeptAnswer,
    Mismatch,
    Verdict,
)
from compass_ray.types.requests import Kind

_ROUTES: Mapping[Kind, str] = {"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"}
_PIECE = 64 * 1024
"""Bytes of a stream that are inflated at once."""


class Once:
    """A gateway's `answer`, at most one run at a time and one answer per key."""

    def __init__(self, gateway: Gateway, claims: Claims, recorder: Recorder, clock: Clock) -> None:
        self._gateway = gateway
        self._claims = claims
        self._recorder = recorder
        self._clock = clock

    async def answer(
        self,
        raw: bytes,
        caller: Caller,
        request_id: str,
        key: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        kind: Kind = "chat",
    ) -> "Reply | Replay":
        """Answer a body, or tell its earlier answer again.

        A whole answer, and the last of a stream, is told only once it is kept. `headers` and
        `kind` as for the gateway.

        Raises:
            InvalidRequest: `key` cannot be one.
            RunInProgress, IdempotencyKeyReused, IdempotencyUnavailable
            CompassError: as the gateway; the key is free again.
        """
        started = self._clock.monotonic()
        try:
            claim = Claim(caller.account, checked(key), fingerprint(_ROUTES[kind], raw), request_id)
            answered = _answered(await self._claims.begin(claim))
        except CompassError as error:
            self._gateway.refuse(request_id, error, caller)
            raise
        if answered is not None:
            wall, seconds = self._clock.wall(), self._clock.monotonic() - started
            self._recorder.record(of_replay(request_id, caller, answered, wall, seconds))
            return Replay(answered)
        return await self._run(raw, caller, claim, headers, kind)

    async def _run(
        self, raw: bytes, caller: Caller, claim: Claim, headers: Mapping[str, str], kind: Kind
    ) -> Reply:
        try:
            reply = await self._gateway.answer(raw, caller, claim.id, headers, kind=kind)
        except Exception:
            await self._claims.free(claim)
            raise
        except BaseException:
            self._claims.abandon(claim)
            raise
        if (body := reply.body) is None:
            return KeptReply(reply.job, reply.result, reply.end, self._claims, claim)
        content = _Deflated()
        content.add(orjson.dumps(body))
        await self._claims.keep(claim, _kept(reply, content))
        return reply


@dataclass(frozen=True, slots=True)
class Replay:
    """An answer that is told again; it costs nothing."""

    answered: Answered

    @property
    def request_id(self) -> str:
        """Of the run that gave the answer."""
        return self.answered.request_id

    @property
    def answer(self) -> KeptAnswer:
        """Who gave it."""
        return self.answered.answer

    def body(self) -> bytes:
        """Return the JSON of a whole answer."""
        return zlib.decompress(self.answer.content or b"")

    def events(self) -> Iterator[bytes]:
        """Yield the JSON of each of a stream's events."""
        inflate = zlib.decompressobj()
        rest, packed = b"", self.answer.content or b""
        while not inflate.eof:
            piece = inflate.decompress(packed, _PIECE)
            if not piece and not inflate.eof:
                raise zlib.error("the answer is cut off")
            packed = inflate.unconsumed_tail
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines

    def about(self) -> dict[str, Any]:
        """Return who answered and what it costs now, JSON-ready; as `Reply.about`."""
        return {
            "request_id": self.request_id,
            "endpoint": self.answer.endpoint,
            "tier": self.answer.tier,
            "cost_micro_usd": 0,
            "attempts": [],
            "replayed": True,
        }


@dataclass(frozen=True, slots=True)
class KeptReply(Reply):
    """A stream, the same, except that its end is told once it is kept."""

    claims: Claims
    claim: Claim

    async def chunks(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield OpenAI's `chat.completion.chunk` objects.

        Raises:
            CompassError: the provider failed in mid-stream; the key is free again.
            RunInProgress: another run has taken over the key.
        """
        content = _Deflated()
        try:
            # No `super()`: a dataclass with slots is not the class that its methods saw.
            async for chunk in Reply.chunks(self):
                content.add(orjson.dumps(chunk) + b"\n")
                yield chunk
        except Exception:
            await self.claims.free(self.claim)
            raise
        await self.claims.keep(self.claim, _kept(self, content))

    async def close(self) -> None:
        """Stop what still runs, charge it, and free the key unless the stream has ended well."""
        try:
            await Reply.close(self)
        finally:
            self.claims.abandon(self.claim)


class _Deflated:
    """An answer on its way to be kept: 2,000 events of 200 bytes make 10 kB, at 1 to 5 µs each.

    A small window: one takes 26 kB of memory while its stream runs, not 80.
    """

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(1, zlib.DEFLATED, 12, 5)
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, text: bytes) -> None:
        """Append `text`."""
        if self._size <= MOST_BYTES:
            self._take(self._deflate.compress(text))

    def whole(self) -> bytes | None:
        """Return all of it; None if that is too much."""
        self._take(self._deflate.flush())
        return b"".join(self._pieces) if self._size <= MOST_BYTES else None

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        self._pieces.append(piece)


def _answered(verdict: Verdict) -> Answered | None:
    """Return the earlier answer; None where the request is to run."""
    if isinstance(verdict, InProgress):
        raise RunInProgress(
            f"{verdict.request_id} with this Idempotency-Key is being answered",
            code="idempotency_key_in_use",
            retry_after=verdict.retry_after,
        )
    if isinstance(verdict, Mismatch):
        raise IdempotencyKeyReused(
            "this Idempotency-Key stands for another request",
            code="idempotency_key_reused",
            param="Idempotency-Key",
        )
    if not isinstance(verdict, Answered):
        return None
    if verdict.answer.content is None:
        raise IdempotencyKeyReused(
            f"the answer of {verdict.request_id} was too large to be kept",
            code="answer_not_kept",
            param="Idempotency-Key",
        )
    return verdict


def _kept(reply: Reply, content: _Deflated) -> KeptAnswer:
    endpoint = reply.endpoint
    return KeptAnswer(
        stream=reply.is_stream,
        endpoint=endpoint.id,
        provider=endpoint.provider,
        model=endpoint.model,
        tier=int(endpoint.tier),
        content=content.whole(),
    )
