"""A replica as production wires it, with the actors' classes as plain objects."""

import asyncio
import gc

import pytest

from compass_ray.actors.batches import BatchesActor
from compass_ray.actors.breaker import BreakerActor
from compass_ray.actors.idempotency import IdempotencyActor
from compass_ray.actors.learner import LearnerActor
from compass_ray.actors.ledger import LedgerActor
from compass_ray.actors.metrics import MetricsHub
from compass_ray.actors.provider import ProviderActor, ProviderSettings
from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.config import load, new_key
from compass_ray.providers.registry import KINDS
from compass_ray.rules import shipped_rules
from compass_ray.serving.replica import Authorities, Replica, groups, learner_settings
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import ConfigError
from tests.test_rules import TEXT

_, DIGEST = new_key()
KEYS = {
    "accounts": {"acme": {"budget": {"lifetime": {"usd": 5}}}},
    "keys": [{"name": "alice", "account": "acme", "hash": DIGEST}],
}


class Cluster:
    """The authorities that replicas connect to."""

    def __init__(self, folder, inline, env):
        inline = {"server": {"state_dir": str(folder)}} | inline
        self.settings = load(inline, {}, folder)
        self.providers = {
            spec.name: ProviderActor(
                ProviderSettings(spec.name, spec.kind, spec.base_url, spec.key_names), environ=env
            )
            for spec in self.settings.providers
        }
        self.ledger = LedgerActor(folder / "ledger.db", self.settings.accounts)
        self.learner = LearnerActor(folder / "decisions.db")
        self.connections = 0

    async def connect(self):
        self.connections += 1
        settings = self.settings
        breaker = BreakerActor(settings.breaker, groups(settings, {}))
        keys = IdempotencyActor(settings.server.state_dir / "idempotency.db", settings.idempotency)
        await self.learner.configure(learner_settings(settings))
        runs = WorkflowsActor(settings.server.state_dir / "workflows.db", gateway=None)
        batches = BatchesActor(
            settings.server.state_dir / "batches.db",
            settings.server.state_dir / "files",
            None,
            settings.batches,
        )
        return Authorities(
            self.ledger, breaker, self.providers, MetricsHub(), keys, self.learner, runs, batches
        )


@pytest.fixture
async def replica(tmp_path):
    """Build a replica that listens on `host`; it is stopped where it was started."""
    started = []

    async def build(host="127.0.0.1", inline=None, env=None):
        cluster = Cluster(tmp_path, inline or {}, env or {})

        async def listens_on():
            return host

        built = Replica(cluster.settings, cluster.connect, listens_on)
        started.append(built)
        return built, cluster

    thresholds = gc.get_threshold()
    yield build
    for one in started:
        if hasattr(one, "gateway"):
            await one.stop()
        elif hasattr(one, "_end_log"):
            one._end_log()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "gateway.example.com"])
async def test_an_open_gateway_refuses_to_listen_to_the_world(replica, host):
    r, cluster = await replica(host)

    with pytest.raises(ConfigError, match="anybody may call") as refused:
        await r.start()

    assert refused.value.key == "keys"
    assert repr(host) in refused.value.message
    assert cluster.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_an_open_gateway_may_listen_on_loopback(replica, host):
    r, _ = await replica(host)

    await r.start()

    assert r.gateway.authenticate(None).account == "open"


async def test_a_gateway_with_keys_may_listen_to_the_world(replica):
    r, _ = await replica("0.0.0.0", KEYS)

    await r.start()

    assert r.health()["status"] == "starting"


async def test_it_is_healthy_when_every_provider_has_reported(replica):
    r, _ = await replica()
    await r.start()

    for _ in range(100):  # turns of the loop
        await asyncio.sleep(0)

    assert r.health()["status"] == "ok"
    assert {one["name"] for one in r.admin.providers()} == set(KINDS)
    assert [model["id"] for model in r.admin.models()] == ["auto"]
    r.check()


async def test_it_tells_how_many_calls_at_once_it_has_found_out(replica):
    r, _ = await replica(inline={"providers": {"openai": {"limits": {"adaptive": {}}}}})
    await r.start()
    for _ in range(100):  # turns of the loop
        await asyncio.sleep(0)
    endpoint = next(one for one in r._settings.endpoints if one.provider == "openai")

    await r._throttle.take(endpoint, "acme")

    (told,) = [one["concurrency"] for one in r.admin.providers() if one["concurrency"]]
    assert told == {endpoint.id: {"limit": 8, "in_flight": 1, "waiting": 0}}
    shown = f'compass_concurrency_in_flight{{endpoint="{endpoint.id}"}} 1.0'
    assert shown in (await r.exposition()).decode()


async def test_a_replica_follows_the_rules_file_that_its_operator_edits(replica, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(TEXT)
    r, _ = await replica(inline={"routing": {"rules": str(file)}})
    await r.start()
    before = r.health()["rules"]
    file.write_text(TEXT + "\n# edited\n")
    await r.rules.look()

    assert before == {"version": shipped_rules().version, "refused": False}
    assert r.health()["rules"]["version"] == r.gateway._settings.rules.version
    assert r.health()["rules"] != before


@pytest.mark.parametrize(("learned", "has_model"), [(True, True), (False, False)])
async def test_the_shipped_model_has_a_say_where_the_operator_wants_it(replica, learned, has_model):
    r, _ = await replica(inline={"routing": {"learned": learned}})
    await r.start()

    assert (r.gateway._settings.model is not None) == has_model


async def test_it_follows_the_learner_and_tells_it_what_it_decided(replica):
    r, cluster = await replica(inline={"routing": {"learned": True, "explore": 0.5}})
    await r.start()

    told = await cluster.learner.learning()

    assert (told.mode, told.version) == ("on", 1)
    assert r.gateway._pupil._explore == 0.5
    assert r.gateway._decisions is not None


@pytest.mark.parametrize(("learned", "mode"), [(True, "frozen"), (False, "off")])
async def test_the_learner_does_as_configured(replica, learned, mode):
    r, cluster = await replica(inline={"routing": {"learned": learned, "learning": "frozen"}})
    await r.start()

    assert (await cluster.learner.learning()).mode == mode
    assert (r.gateway._pupil is None) == (not learned)


async def test_where_no_decision_is_kept_none_is_told(replica):
    r, _ = await replica(inline={"routing": {"decisions": {"keep": 0}}})
    await r.start()

    assert r.gateway._decisions is None


async def test_an_ended_background_task_makes_it_unhealthy(replica):
    r, _ = await replica()
    await r.start()

    async def fail():
        raise OSError("the disk is full")

    r._run(fail())
    await asyncio.wait(r._tasks[-1:])

    with pytest.raises(RuntimeError, match="fail"):
        r.check()


async def test_its_books_are_the_ledger_s(replica):
    r, _ = await replica(inline=KEYS)
    await r.start()

    (books,) = await r.admin.budgets(Caller("alice", "acme"))

    assert (books["account"], books["limit"]) == ("acme", 5_000_000)
    assert (books["spent"], books["remaining"]) == (0, 5_000_000)


async def test_its_metrics_are_up_to_date_when_asked(replica):
    r, _ = await replica()
    await r.start()
    r.active(1)

    assert b"compass_active_tasks 1.0" in await r.exposition()
    assert (await r.summary())["replicas"] == 1


def test_only_endpoints_that_can_stand_in_for_each_other_are_a_group(tmp_path):
    keys = {"OPENAI_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k"}

    chats, *embedders = groups(load({}, {}, tmp_path), keys)

    assert "openai/gpt-6.1-sol" in chats
    assert "azure/gpt-6.1-sol" in chats
    assert not any("embedding" in name for name in chats)
    assert {"openai/text-embedding-3-small", "azure/text-embedding-3-small"} in embedders
    assert {"openai/text-embedding-ada-002"} in embedders
    assert not any("gemini" in name for group in embedders for name in group)


def test_a_further_key_makes_a_provider_usable(tmp_path):
    settings = load({"providers": {"openai": {"more_keys_env": ["KEY_2"]}}}, {}, tmp_path)

    assert any("openai/gpt-6.1-sol" in group for group in groups(settings, {"KEY_2": "k"}))
