import asyncio
import logging
from dataclasses import replace
from math import inf

import pytest
from aiohttp import web

from compass_ray.actors.provider import ProviderActor, ProviderSettings

KEY = "sk-canary-7f3a"
OPENAI = ProviderSettings(
    "openai",
    "openai",
    "https://api.openai.com/v1",
    key_names=("OPENAI_API_KEY", "OPENAI_KEY"),
    base_url_names=("OPENAI_BASE_URL",),
)


class Upstream:
    """An OpenAI-compatible server with one model."""

    url = ""
    status = 200
    silent = False
    refuses = None
    extra = {}  # noqa: RUF012  # replaced, never changed

    async def answer(self, request):
        if request.headers["authorization"] == f"Bearer {self.refuses}":
            return web.json_response({"error": {"message": "no"}}, status=401)
        if self.silent:
            await asyncio.sleep(60)
        if self.status != 200:
            return web.json_response({"error": {"message": f"bad {KEY}"}}, status=self.status)
        model = {"id": "m", "object": "model", "created": 1, "owned_by": "x", **self.extra}
        return web.json_response({"object": "list", "data": [model]})


@pytest.fixture
async def upstream():
    upstream = Upstream()
    app = web.Application()
    app.router.add_get("/v1/models", upstream.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream.url = "http://{}:{}/v1".format(*runner.addresses[0])
    yield upstream
    await runner.cleanup()


@pytest.fixture
async def actor(upstream):
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": upstream.url + "/"}
    actor = ProviderActor(OPENAI, environ=environ, wall=lambda: 5.0)
    yield actor
    await actor.close()


async def test_a_provider_without_a_key_says_what_it_waits_for_and_is_not_probed():
    actor = ProviderActor(OPENAI, environ={"OPENAI_API_KEY": "  "})

    version, status = await actor.watch(0, 60.0)

    assert not status.configured
    assert status.waits_for == ("OPENAI_API_KEY", "OPENAI_KEY")
    assert (await actor.watch(version, 0.0))[1].checked_at is None


async def test_a_provider_without_an_address_waits_for_one():
    settings = ProviderSettings("vllm", "openai", base_url_names=("VLLM_BASE_URL",))

    status = ProviderActor(settings, environ={})._status.value

    assert (status.configured, status.waits_for) == (False, ("VLLM_BASE_URL",))


def test_the_first_key_that_is_set_is_taken_and_the_environment_names_the_address():
    environ = {"OPENAI_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1/"}

    status = ProviderActor(OPENAI, environ=environ)._status.value

    assert (status.key, status.base_url) == (KEY, "http://127.0.0.1:9/v1")
    assert status.configured


def test_all_further_keys_that_are_set_join_the_first_each_once():
    settings = replace(OPENAI, more_key_names=("KEY_2", "KEY_3", "KEY_4", "KEY_5"))
    environ = {"OPENAI_KEY": KEY, "KEY_2": "b", "KEY_3": " ", "KEY_4": KEY, "KEY_5": "a"}

    status = ProviderActor(settings, environ=environ)._status.value

    assert [(key.variable, key.secret) for key in status.keys] == [
        ("OPENAI_KEY", KEY),
        ("KEY_2", "b"),
        ("KEY_5", "a"),
    ]
    assert status.key == KEY
    assert KEY not in repr(status)


def test_a_further_key_alone_is_a_key():
    settings = replace(OPENAI, more_key_names=("KEY_2",))

    found = ProviderActor(settings, environ={"KEY_2": "b"})._status.value
    lacks = ProviderActor(settings, environ={})._status.value

    assert (found.configured, found.key, len(found.keys)) == (True, "b", 1)
    assert lacks.waits_for == ("OPENAI_API_KEY", "OPENAI_KEY", "KEY_2")


def test_a_provider_with_one_key_has_no_pool():
    assert ProviderActor(OPENAI, environ={"OPENAI_API_KEY": KEY})._status.value.keys == ()


@pytest.mark.server
async def test_a_probe_goes_on_with_the_next_key_where_one_is_refused(upstream):
    upstream.refuses = "first"
    settings = replace(OPENAI, more_key_names=("KEY_2",))
    environ = {"OPENAI_API_KEY": "first", "KEY_2": "second", "OPENAI_BASE_URL": upstream.url}
    actor = ProviderActor(settings, environ=environ)

    await actor.probe()
    alive = actor._status.value
    upstream.status = 401
    await actor.probe()
    await actor.close()

    assert (alive.healthy, alive.models) == (True, ("m",))
    assert actor._status.value.healthy is False


def test_the_environment_names_the_version_of_azures_api():
    settings = ProviderSettings(
        *("azure", "azure", "https://r.openai.azure.com"),
        api_version="2024-06-01",
        api_version_names=("OPENAI_API_VERSION",),
    )

    statuses = [
        ProviderActor(settings, environ=environ)._status.value
        for environ in ({}, {"OPENAI_API_VERSION": "2024-10-21"})
    ]

    assert [status.api_version for status in statuses] == ["2024-06-01", "2024-10-21"]


def test_without_anything_in_the_environment_the_configured_address_stands():
    status = ProviderActor(OPENAI, environ={"OPENAI_API_KEY": KEY})._status.value

    assert status.base_url == "https://api.openai.com/v1"


@pytest.mark.server
async def test_a_probe_finds_the_models(actor):
    await actor.probe()

    status = actor._status.value
    assert (status.healthy, status.models, status.checked_at) == (True, ("m",), 5.0)


@pytest.mark.server
@pytest.mark.parametrize(("told", "starts"), [(90, {"m": 90.0}), (0, {}), (None, {"m": inf})])
async def test_a_model_that_starts_on_demand_is_asked_after_often(upstream, told, starts):
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": upstream.url}
    settings = replace(OPENAI, interval=60.0, retry=0.01)
    actor = ProviderActor(settings, environ=environ)
    upstream.extra = {"starts_in_s": told}

    version, _ = await actor.watch(0, 60.0)
    version, status = await actor.watch(version, 60.0)
    async with asyncio.timeout(5):
        await actor.watch(version, 60.0)

    assert (status.healthy, status.starts) == (True, starts)
    await actor.close()


@pytest.mark.server
async def test_whoever_watches_starts_the_probing(actor):
    version, status = await actor.watch(0, 60.0)
    assert status.healthy is None

    _, status = await actor.watch(version, 60.0)

    assert status.healthy


@pytest.mark.server
async def test_the_status_is_answered_without_waiting_for_a_probe(actor):
    assert (await actor.status()).healthy is None


@pytest.mark.server
@pytest.mark.parametrize(("code", "healthy"), [(401, False), (500, False), (404, True)])
async def test_a_refusal_is_told_without_the_key(actor, upstream, caplog, code, healthy):
    caplog.set_level(logging.DEBUG, logger="compass")
    upstream.status = code

    await actor.probe()

    status = actor._status.value
    assert status.healthy is healthy
    assert KEY not in repr(status) + status.detail + caplog.text
    assert "HTTP 401" in status.detail or code != 401


@pytest.mark.server
async def test_the_models_of_the_last_good_answer_are_kept(actor, upstream):
    await actor.probe()
    upstream.status = 500

    await actor.probe()

    assert (actor._status.value.healthy, actor._status.value.models) == (False, ("m",))


@pytest.mark.server
async def test_a_silent_provider_is_given_up_after_the_timeout(upstream):
    upstream.silent = True
    actor = ProviderActor(ProviderSettings("p", "openai", upstream.url, timeout=0.2), environ={})

    await actor.probe()

    assert actor._status.value.healthy is False
    assert "Timeout" in actor._status.value.detail
    await actor.close()


@pytest.mark.server
async def test_a_local_provider_is_configured_once_its_engine_is_up(upstream):
    urls = [None, upstream.url]

    async def engine_url():
        return urls.pop(0)

    settings = ProviderSettings("local", "local")
    actor = ProviderActor(settings, engine_url=engine_url, environ={})
    await actor.probe()
    starting = actor._status.value
    await actor.probe()

    assert (starting.configured, starting.detail) == (False, "the engine is starting")
    assert (actor._status.value.base_url, actor._status.value.healthy) == (upstream.url, True)
    assert actor._status.value.detail == ""
    await actor.close()


async def test_a_local_engine_that_fails_is_unhealthy_and_asked_again():
    async def engine_url():
        raise ConnectionError("gone")

    settings = ProviderSettings("local", "local", retry=0.0)
    actor = ProviderActor(settings, engine_url=engine_url, environ={})
    version, _ = await actor.watch(0, 0.0)

    first, status = await actor.watch(version, 60.0)
    second, _ = await actor.watch(first, 60.0)

    assert (status.healthy, status.detail) == (False, "ConnectionError")
    assert second > first
    await actor.close()
