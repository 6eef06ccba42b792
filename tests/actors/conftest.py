"""A webhook that keeps what it gets."""

import json
from types import SimpleNamespace

import pytest
from aiohttp import web


@pytest.fixture
async def webhook():
    """A server that answers with each of `answers`, then with 204, and keeps what it got."""
    hook = SimpleNamespace(answers=[], got=[], raw=[], url="", retry_after=None)

    async def take(request):
        body = await request.read()
        hook.raw.append(({name.lower(): value for name, value in request.headers.items()}, body))
        hook.got.append(json.loads(body))
        headers = {"location": hook.url} | (
            {} if hook.retry_after is None else {"retry-after": hook.retry_after}
        )
        status = hook.answers.pop(0) if hook.answers else 204
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield hook
    await runner.cleanup()
