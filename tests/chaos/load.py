"""Plays operations against the gateway, as independent clients do, and writes what they saw."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import aiohttp

from .generator import TENANTS, Operation, canary
from .history import History, Outcome, Seen

CHAT = "/v1/chat/completions"
_PATIENCE = 40.0
"""Seconds after which a client gives up: more than the gateway's own deadline."""


@dataclass
class Load:
    """So many clients, each with one operation under way at a time."""

    url: str
    keys: Mapping[str, str]
    history: History
    clock: Callable[[], float]
    secrets: tuple[str, ...] = ()
    """What nobody may ever receive."""
    request_ids: dict[str, str] = field(default_factory=dict)
    """Each tenant's last answered request."""

    async def run(self, operations: Iterator[Operation], clients: int, stop: asyncio.Event) -> None:
        """Play until `stop` is set; what is under way comes to its end."""

        async def client(session: aiohttp.ClientSession) -> None:
            while not stop.is_set():
                await self.play(session, next(operations))

        limits = aiohttp.TCPConnector(limit=clients)
        async with aiohttp.ClientSession(self.url, connector=limits) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))

    async def play(self, session: aiohttp.ClientSession, operation: Operation) -> Seen:
        """Play one operation."""
        began = self.clock()
        self.history.invoke(operation, began)
        seen = Seen(operation, "info", began, began)
        try:
            async with asyncio.timeout(_PATIENCE):
                if operation.kind == "snoop":
                    seen = await self._snoop(session, seen)
                else:
                    seen = await self._chat(session, seen)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            seen = replace(seen, error=type(error).__name__)
        seen = replace(seen, ended=self.clock())
        self.history.complete(seen)
        return seen

    async def _chat(self, session: aiohttp.ClientSession, seen: Seen) -> Seen:
        operation = seen.operation
        body = {
            "model": operation.model,
            "messages": [{"role": "user", "content": operation.prompt}],
            "max_tokens": operation.max_tokens,
            "stream": operation.stream,
        }
        if operation.model == "auto":
            body["compass"] = {"tier": "fast"}
        if operation.stream:
            body["stream_options"] = {"include_usage": True}
        leaves = operation.leaves_after
        if leaves == 0:
            return await self._leave_at_once(session, seen, body)
        async with session.post(CHAT, json=body, headers=self._headers(operation)) as answer:
            seen = replace(
                seen,
                status=answer.status,
                request_id=answer.headers.get("x-compass-request-id"),
                leaks=self._leaks(operation, str(answer.raw_headers)),
            )
            try:
                if operation.stream and answer.status == 200:
                    return await self._read_stream(answer, seen)
                return self._read_whole(await answer.read(), answer, seen)
            except (aiohttp.ClientError, OSError) as error:
                return replace(seen, error=type(error).__name__)

    async def _leave_at_once(
        self, session: aiohttp.ClientSession, seen: Seen, body: dict[str, object]
    ) -> Seen:
        asking = asyncio.ensure_future(
            session.post(CHAT, json=body, headers=self._headers(seen.operation))
        )
        done, _ = await asyncio.wait({asking}, timeout=0.005)
        if done and asking.exception() is None:
            answer = asking.result()
            answer.close()
            request_id = answer.headers.get("x-compass-request-id")
            return replace(seen, status=answer.status, request_id=request_id, error="left")
        asking.cancel()
        await asyncio.wait({asking})
        return replace(seen, error="left")

    async def _read_stream(self, answer: aiohttp.ClientResponse, seen: Seen) -> Seen:
        operation, pieces, last = seen.operation, 0, b""
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            last = line[6:].strip()
            seen = replace(seen, leaks=seen.leaks + self._leaks(operation, last.decode()))
            if last == b"[DONE]":
                return self._ended(seen, "ok")
            event = json.loads(last)
            if "error" in event:
                return replace(self._ended(seen, "fail"), error=event["error"]["type"])
            seen = replace(seen, chars=seen.chars + _chars(event))
            if event.get("usage"):
                cost = event.get("compass", {}).get("cost_micro_usd")
                tokens = event["usage"]["completion_tokens"]
                seen = replace(seen, cost=cost, output_tokens=tokens)
            pieces += 1
            if pieces == operation.leaves_after:
                answer.close()
                return replace(seen, error="left")
        return replace(seen, error="ended without [DONE]")

    def _read_whole(self, raw: bytes, answer: aiohttp.ClientResponse, seen: Seen) -> Seen:
        seen = replace(seen, leaks=seen.leaks + self._leaks(seen.operation, raw.decode()))
        try:
            body = json.loads(raw)
        except json.JSONDecodeError:
            return replace(seen, error="not JSON")  # HAProxy's word, not the gateway's
        if answer.status != 200:
            return replace(self._ended(seen, "fail"), error=body["error"]["code"] or "")
        cost = round(float(answer.headers["x-compass-cost-usd"]) * 1e6)
        usage = body.get("usage")  # a provider may tell none
        tokens = usage["completion_tokens"] if usage else None
        chars = len(body["choices"][0]["message"]["content"] or "")
        return replace(self._ended(seen, "ok"), cost=cost, output_tokens=tokens, chars=chars)

    async def _snoop(self, session: aiohttp.ClientSession, seen: Seen) -> Seen:
        """Ask for the postings of somebody else's request."""
        operation = seen.operation
        others = [id_ for tenant, id_ in self.request_ids.items() if tenant != operation.tenant]
        path = f"/api/v1/postings/{others[0] if others else 'req_0'}"
        async with session.get(path, headers=self._headers(operation)) as answer:
            raw = (await answer.read()).decode()
            leaks = self._leaks(operation, raw)
            if answer.status == 200:
                leaks += ("another tenant's postings",)
            return replace(seen, outcome="fail", status=answer.status, leaks=leaks)

    def _ended(self, seen: Seen, outcome: Outcome) -> Seen:
        if seen.request_id is not None:
            self.request_ids[seen.operation.tenant] = seen.request_id
        return replace(seen, outcome=outcome)

    def _headers(self, operation: Operation) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[operation.tenant]}"}

    def _leaks(self, operation: Operation, text: str) -> tuple[str, ...]:
        """Return what of another tenant's words, or of any secret, stands in `text`."""
        others = (canary(operation.seed, tenant) for tenant in TENANTS)
        foreign = [word for word in others if word != canary(operation.seed, operation.tenant)]
        return tuple(word for word in (*foreign, *self.secrets) if word in text)


def _chars(event: Mapping[str, object]) -> int:
    return sum(len(c["delta"].get("content") or "") for c in event["choices"])
