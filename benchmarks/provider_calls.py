"""CPU of one process for a call to a provider: the gateway's client, and aiohttp's.

    python -m benchmarks.provider_calls [calls]

64 calls at once to the upstream of `benchmarks.overhead`, in turns; prints the least of five.
"""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from time import process_time

import aiohttp
import uvloop

from benchmarks.contract import Shape, mark, request_body
from benchmarks.system import free_port, start_upstream
from compass_ray.providers._http import HttpClient
from compass_ray.providers.base import HttpCall
from compass_ray.types.settings import TimeoutSettings

CALLERS = 64
ROUNDS = 5
HEADERS = {"content-type": "application/json", "authorization": "Bearer unused"}
TIMEOUTS = TimeoutSettings(connect=5.0, first_byte=30.0, idle=30.0, total=60.0)

Call = Callable[[], Awaitable[None]]


def main(calls: int) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        _, upstream = start_upstream(free_port(), Path(folder), stack)
        uvloop.run(compared(f"{upstream}/v1/chat/completions", calls))


async def compared(url: str, calls: int) -> None:
    before, after = request_body("bench", Shape())
    body = b"".join((before, mark(0, Shape()), after))
    clock = asyncio.get_running_loop().time
    client = HttpClient(TIMEOUTS, max_parallel=CALLERS)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CALLERS),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )

    async def ours() -> None:
        exchange = await client.send(HttpCall(url, HEADERS, body), clock() + TIMEOUTS.total)
        try:
            await exchange.read()
        finally:
            exchange.close()

    async def theirs() -> None:
        payload = aiohttp.BytesPayload(body)
        async with session.post(url, data=payload, headers=HEADERS) as response:
            await response.read()

    least = {"ours": 1e9, "aiohttp": 1e9}
    for _ in range(ROUNDS):
        for name, call in (("ours", ours), ("aiohttp", theirs)):
            await made(call, calls // 10)
            least[name] = min(least[name], await made(call, calls))
    await client.close()
    await session.close()
    for name, cost in least.items():
        print(f"{name:<10}{cost * 1e6:>6.1f} µs a call")
    print(f"{'ratio':<10}{least['aiohttp'] / least['ours']:>6.1f}")


async def made(call: Call, calls: int) -> float:
    """Return the CPU seconds of each of so many calls."""
    left = calls

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    since = process_time()
    await asyncio.gather(*[caller() for _ in range(CALLERS)])
    return (process_time() - since) / calls


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
