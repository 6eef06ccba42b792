"""Clients that keep streams open, and ask beside them."""

import asyncio
import json

import aiohttp

from .load import CHAT

STREAMS = 60
WHOLE = {"model": "burst", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
STREAM = WHOLE | {"max_tokens": 40, "stream": True, "model": "sim-openai"}


async def stream(session, begun=None):
    """Return how a stream ended, and its request id; `begun` is counted up at its first piece."""
    last, request_id = b"", ""
    try:
        async with session.post(CHAT, json=STREAM) as answer:
            request_id = answer.headers.get("x-compass-request-id", "")
            async for line in answer.content:
                if line.startswith(b"data: "):
                    last = line[6:].strip()
                    if begun is not None:
                        begun.add(request_id)
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__, request_id
    if last == b"[DONE]":
        return "done", request_id
    event = json.loads(last or b"{}")
    return ("error event" if "error" in event else f"cut, {answer.status}"), request_id


async def one(session):
    try:
        async with session.post(CHAT, json=WHOLE) as answer:
            await answer.read()
            return answer.status
    except aiohttp.ClientError as error:
        return type(error).__name__


async def open_streams(session, count=STREAMS):
    """Return the tasks of so many streams, each past its first piece."""
    begun = set()
    tasks = [asyncio.create_task(stream(session, begun)) for _ in range(count)]
    async with asyncio.timeout(20):
        while len(begun) < count:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.05)
    return tasks


async def cut(tasks):
    """Return once the ingress has ended the streams of what was killed, and ends no more."""
    ended = -1
    while ended <= 0 or ended < sum(task.done() for task in tasks):
        ended = sum(task.done() for task in tasks)
        await asyncio.sleep(0.1)
