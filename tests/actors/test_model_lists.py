"""The official SDKs against a real HTTP server that answers in each provider's own words."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from compass_ray.actors.model_lists import Listing, connect, describe, unlisted
from compass_ray.providers.base import Target
from compass_ray.types.errors import ConfigError

pytestmark = pytest.mark.server

KEY = "sk-canary-7f3a"
LISTS = {
    "/openai/v1/models": {
        "object": "list",
        "data": [
            {"id": "gpt-b", "object": "model", "created": 1, "owned_by": "x"},
            {"id": "gpt-a", "object": "model", "created": 1, "owned_by": "x"},
        ],
    },
    "/anthropic/v1/models": {
        "data": [
            {
                "id": "claude-a",
                "type": "model",
                "display_name": "A",
                "created_at": "2026-01-01T00:00:00Z",
            }
        ],
        "has_more": False,
        "first_id": "claude-a",
        "last_id": "claude-a",
    },
    "/google/v1beta/models": {"models": [{"name": "models/gemini-a"}]},
}
MODEL = {"owner": "meta", "name": "llama", "url": "x", "visibility": "public", "run_count": 1}
LISTS["/replicate/v1/collections/language-models"] = {
    "name": "Language models",
    "slug": "language-models",
    "description": "x",
    "models": [MODEL],
}
LISTS["/replicate/v1/account"] = {"type": "user", "username": "u", "name": "U"}
LISTS["/azure/openai/v1/models"] = LISTS["/openai/v1/models"]
LISTS["/azure/openai/models"] = LISTS["/openai/v1/models"]
KINDS = [
    ("azure", "/azure", ("gpt-a", "gpt-b")),
    ("replicate", "/replicate", ("meta/llama",)),
    ("huggingface", "/openai/v1", ("gpt-a", "gpt-b")),
    ("openai", "/openai/v1", ("gpt-a", "gpt-b")),
    ("local", "/openai/v1", ("gpt-a", "gpt-b")),
    ("anthropic", "/anthropic", ("claude-a",)),
    ("google", "/google", ("gemini-a",)),
]


class Upstream:
    """Answers with the lists, or with `status` to everything; remembers the requests."""

    def __init__(self):
        self.status = 200
        self.headers = {}
        self.seen = []
        self.url = ""

    async def answer(self, request):
        self.seen.append((request.path, dict(request.headers)))
        if self.status != 200:
            body = {"error": {"message": f"bad key {KEY}", "code": self.status, "status": "NO"}}
            return web.json_response(body, status=self.status, headers=self.headers)
        return web.json_response(LISTS[request.path])


@asynccontextmanager
async def serving():
    upstream = Upstream()
    app = web.Application()
    app.router.add_get("/{path:.*}", upstream.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = "http://{}:{}".format(*runner.addresses[0])
    try:
        yield upstream
    finally:
        await runner.cleanup()


@pytest.fixture
async def upstream():
    async with serving() as upstream:
        yield upstream


@asynccontextmanager
async def connected(kind, base_url, version=""):
    models = await asyncio.to_thread(connect, kind, Target(base_url, KEY, version), 5.0)
    try:
        yield models
    finally:
        await models.close()


@pytest.mark.parametrize(("kind", "path", "names"), KINDS)
async def test_each_sdk_lists_the_models_with_our_key(upstream, kind, path, names):
    async with connected(kind, upstream.url + path) as models:
        assert await models.fetch() == Listing(names)

    ((_, headers),) = upstream.seen
    assert any(KEY in value for value in headers.values())


async def test_replicates_long_list_is_asked_for_once(upstream):
    async with connected("replicate", upstream.url + "/replicate") as models:
        assert await models.fetch() == await models.fetch() == Listing(("meta/llama",))

    assert [path for path, _ in upstream.seen] == [
        "/replicate/v1/collections/language-models",
        "/replicate/v1/account",
    ]


async def test_azure_is_asked_by_the_api_version_that_is_set(upstream):
    async with connected("azure", upstream.url + "/azure", "2024-10-21") as models:
        assert await models.fetch() == Listing(("gpt-a", "gpt-b"))

    assert [path for path, _ in upstream.seen] == ["/azure/openai/models"]


@pytest.mark.parametrize(("kind", "path", "_names"), KINDS)
@pytest.mark.parametrize("status", [401, 404, 500])
async def test_an_error_is_described_by_its_status_and_never_shows_the_key(
    upstream, kind, path, _names, status
):
    upstream.status = status
    async with connected(kind, upstream.url + path) as models:
        with pytest.raises(Exception) as raised:  # noqa: PT011  # each SDK has its own tree
            await models.fetch()

    assert describe(raised.value).endswith(f", HTTP {status}")
    assert KEY not in describe(raised.value)
    assert unlisted(raised.value) == (status == 404)
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(("kind", "path", "_names"), KINDS)
async def test_a_redirect_never_carries_the_key_elsewhere(upstream, kind, path, _names):
    async with serving() as elsewhere, connected(kind, upstream.url + path) as models:
        upstream.status = 307
        upstream.headers = {"Location": elsewhere.url + path}
        with pytest.raises(Exception):  # noqa: B017, PT011  # each SDK has its own tree
            await models.fetch()

        assert elsewhere.seen == []


def test_a_kind_that_no_sdk_speaks_is_refused_by_name():
    with pytest.raises(ConfigError, match="'cohere' is not one of anthropic, azure"):
        connect("cohere", Target("http://127.0.0.1"), 5.0)
