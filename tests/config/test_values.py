"""What becomes of checked settings."""

import pickle
from dataclasses import asdict, astuple, replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.config import hash_key, new_key
from compass_ray.config.amounts import micro_dollars, pico_dollars
from compass_ray.gateway.authenticate import Callers
from compass_ray.policy.breaker import BreakerConfig
from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.columns import Weights
from compass_ray.policy.concurrency import Bounds
from compass_ray.policy.idempotency import Keep
from compass_ray.policy.ladder import Escalation
from compass_ray.policy.retry import RetryPolicy
from compass_ray.providers.registry import KINDS
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.experiments import Guard
from compass_ray.types.routing import Tier
from compass_ray.types.usage import Price

TREE = """
accounts:
  company: {budget: {month: {usd: 2000}}, allowed_models: ["openai/*", "claude-*"]}
  team: {parent: company, budget: {lifetime: {usd: "0.000001"}}}
  person: {parent: team, allowed_models: ["gpt-4o*", "gemini-*"]}
"""


def key(account, plain="ck-x"):
    return {"name": "k", "hash": hash_key(plain), "account": account}


def allowed(settings):
    (caller,) = settings.callers.values()
    return caller.allowed_models


def test_settings_travel_to_other_processes(loaded):
    settings = loaded(TREE, {"keys": [key("person")]})

    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_catalogue_takes_every_endpoint(loaded):
    settings = loaded()

    chats = Catalogue(settings.endpoints).endpoints
    embedders = Catalogue(settings.endpoints, embeddings=True).endpoints
    assert len(chats) + len(embedders) == len(settings.endpoints)
    assert min(len(chats), len(embedders)) > 0


def test_answers_are_kept_for_hours_within_their_room(loaded):
    settings = loaded("idempotency: {keep_hours: 0.5, keep_bytes: 2097152}")

    assert settings.idempotency == Keep(1_800.0, 2 * 1024**2)


@pytest.mark.parametrize("mode", ["off", '"off"'])
def test_nothing_is_escalated_where_that_is_off(loaded, mode):
    settings = loaded(f"routing: {{escalation: {{mode: {mode}}}}}")

    assert settings.escalation is None


@pytest.mark.parametrize(("mode", "always"), [("on", True), ("asked", False)])
def test_escalation_has_a_threshold_for_each_tier_and_travels(loaded, mode, always):
    judge = loaded().endpoints[0].id
    said = f"{{mode: {mode}, fast_below: 0.5, judge: {judge}}}"

    settings = loaded(f"routing: {{escalation: {said}}}")

    below = {Tier.FAST: 0.5, Tier.BALANCED: 0.7}
    assert settings.escalation == Escalation(always, below, judge)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_defaults_are_those_of_the_policies(loaded):
    settings = loaded()

    assert settings.breaker == BreakerConfig()
    assert settings.retry == RetryPolicy()
    assert settings.idempotency == Keep()
    assert settings.plan.weights == Weights()
    assert loaded("routing: {escalation: {mode: asked}}").escalation == Escalation()
    assert asdict(settings.providers[0].timeouts) == {
        "connect": 5.0,
        "first_byte": 120.0,
        "idle": 60.0,
        "total": 600.0,
    }
    assert {one.kind for one in settings.providers} == set(KINDS)


def test_a_batch_costs_its_share_of_the_price(loaded):
    price = "{input: 0.15, output: '0.60', cached_input: 0.075, per_request: 0.01, batch: 0.5}"
    endpoint = f"{{provider: openai, wire_model: x, price: {price}}}"
    card = f"{{tier: 3, context_window: 10, max_output_tokens: 5, endpoints: [{endpoint}]}}"

    (found,) = (one for one in loaded(f"models: {{x: {card}}}").endpoints if one.model == "x")

    assert found.price.batch == Price(75_000, 300_000, 37_500, None, 10_000)


def test_a_price_becomes_pico_dollars_per_token_exactly(loaded):
    price = "{input: 0.15, output: '0.60', cached_input: 0.075, per_request: 0.01}"
    endpoint = f"{{provider: openai, wire_model: x, price: {price}}}"
    facts = "tier: 1, context_window: 9, max_output_tokens: 9"
    text = f"models: {{m: {{{facts}, endpoints: [{endpoint}]}}}}"

    found = next(one for one in loaded(text).endpoints if one.model == "m")

    assert found.price == Price(150_000, 600_000, 75_000, None, 10_000)


def test_a_budget_becomes_micro_dollars_exactly(loaded):
    accounts = loaded(TREE).accounts

    assert accounts["company"] == Account("company", None, (Limit(2_000_000_000, "month"),))
    assert accounts["team"] == Account("team", "company", (Limit(1),))
    assert accounts["person"] == Account("person", "team")


def test_budgets_and_rates_become_limits(loaded):
    budget = "{day: {usd: 1, tokens: 2}, month: {requests: 3}, time_zone: Europe/Berlin}"
    rates = "{requests_per_minute: 4, tokens_per_minute: 5, parallel: 6}"
    text = f"accounts: {{a: {{budget: {budget}, rates: {rates}}}}}"
    provider = "providers: {openai: {rates: {parallel: 7}, budget: {day: {usd: 8}}}}"

    accounts = loaded(f"{text}\n{provider}").accounts

    zone = "Europe/Berlin"
    assert accounts["a"].limits == (
        Limit(1_000_000, "day", "usd", zone),
        Limit(2, "day", "tokens", zone),
        Limit(3, "month", "requests", zone),
        Limit(4, "minute", "requests"),
        Limit(5, "minute", "tokens"),
        Limit(6, "lifetime", "parallel"),
    )
    assert accounts["provider:openai"].limits == (
        Limit(8_000_000, "day"),
        Limit(7, "lifetime", "parallel"),
    )
    assert "provider:local" not in accounts


def test_a_provider_s_calls_at_once_are_found_out_where_that_is_asked_for(loaded):
    asked = "{limits: {adaptive: {ceiling: 9, wait_s: 0.5}}}"

    settings = loaded(f"providers: {{openai: {asked}, google: {{}}}}")

    assert settings.adaptive == {"openai": Bounds(1, 9, 0.5)}


def test_an_account_signs_webhooks_as_the_nearest_above_it_that_says(loaded):
    webhooks = loaded("""
workflows: {webhooks: {allow: [https://h.test/], secret_env: [S]}}
accounts:
  top: {webhook_secret_env: [TOP]}
  below: {parent: top}
  own: {parent: below, webhook_secret_env: [OWN, OWN_2]}
""").webhooks

    assert webhooks.allow == ("https://h.test",)
    names = [webhooks.names_for(account) for account in ("open", "top", "below", "own")]
    assert names == [("S",), ("TOP",), ("TOP",), ("OWN", "OWN_2")]


EXPERIMENT = """
routing:
  learned: true
  weights: {cost: 0.25, complexity: 0.2}
  experiments:
    - name: one
      share: 0.25
      variant: {frugality: 0.5, tiers: {code: 1}}
      guard: {max_error_rate: 0.1}
"""


def test_an_experiment_s_variant_differs_in_what_it_names_and_in_nothing_else(loaded):
    settings = loaded(EXPERIMENT)
    ((experiment, plan),) = settings.experiments

    assert plan == replace(settings.plan, frugality=0.5, tiers={"code": Tier.PREMIUM})
    assert (experiment.name, experiment.share, experiment.unit) == ("one", 0.25, "user")
    assert experiment.guard == Guard(max_error_rate=0.1)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_an_experiment_s_own_weights_get_thriftier_too(loaded):
    ((_, plan),) = loaded(EXPERIMENT.replace("frugality: 0.5", "weights: {}")).experiments

    assert plan.weights == Weights()
    assert [weights.cost > 0.15 for _, weights in plan.thrift] == [True, True]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("name: one", "running: false\n      name: one", True),
        ("frugality: 0.5", "frugality: 0.6", False),
        ("cost: 0.25, complexity: 0.2", "cost: 0.20, complexity: 0.25", False),
        ("share: 0.25", "share: 0.3", False),
        ("max_error_rate: 0.1", "max_error_rate: 0.2", False),
    ],
)
def test_what_compares_something_else_has_another_digest(loaded, old, new, same):
    assert old in EXPERIMENT
    ((before, _),) = loaded(EXPERIMENT).experiments
    ((after, _),) = loaded(EXPERIMENT.replace(old, new)).experiments

    assert (before.digest == after.digest) is same


def test_thrift_raises_the_weight_of_cost_and_the_sum_stays_one(loaded):
    text = "routing: {thrift: [{used: 0.9, cost_factor: 4}, {used: 0.5, cost_factor: 2}]}"

    (half, twice), (most, fourfold) = loaded(text).plan.thrift

    assert (half, most) == (0.5, 0.9)
    for weights, cost in ((twice, 0.3 / 1.15), (fourfold, 0.6 / 1.45)):
        assert weights.cost == pytest.approx(cost)
        assert sum(astuple(weights)) == pytest.approx(1)


@given(st.integers(0, 4_611_686_018_427_000_000))
def test_any_micro_dollars_are_read_exactly(amount):
    written = f"{amount // 1_000_000}.{amount % 1_000_000:06d}"

    assert micro_dollars(written) == amount
    assert pico_dollars(written) == amount


@given(st.integers(0, 10**15 - 1))
def test_a_float_stands_for_the_decimal_it_was_written_as(amount):
    written = f"{amount // 1_000_000}.{amount % 1_000_000:06d}"

    assert micro_dollars(float(written)) == amount


def test_a_caller_may_use_what_all_accounts_above_allow(loaded):
    person = allowed(loaded(TREE, {"keys": [key("person")]}))
    team = allowed(loaded(TREE, {"keys": [key("team")]}))

    assert person == {"openai/gpt-4o", "openai/gpt-4o-mini"}
    assert {one.partition("/")[0] for one in team} == {"openai", "anthropic"}
    assert allowed(loaded(TREE, {"keys": [key("open")]})) is None


def test_a_pattern_for_a_provider_out_of_service_allows_nothing(loaded):
    settings = loaded(
        "accounts: {open: {allowed_models: ['claude-*']}}",
        {"providers": {"anthropic": {"enabled": False}}},
    )

    assert settings.anonymous.allowed_models == frozenset()


def test_a_new_key_opens_the_door_and_its_hash_does_not(loaded):
    plain, hashed = new_key()
    settings = loaded(inline={"keys": [{"name": "k", "hash": hashed, "account": "open"}]})

    callers = Callers(settings.callers, settings.anonymous)

    assert len(plain) == 46
    assert plain.startswith("ck-")
    assert callers.authenticate(plain).key_name == "k"
    for other in (hashed, plain[:-1], new_key()[0]):
        with pytest.raises(Exception, match="unknown API key"):
            callers.authenticate(other)


def test_no_hash_is_in_the_repr(loaded):
    settings = loaded(inline={"keys": [key("open")]})

    assert hash_key("ck-x").removeprefix("sha256:") not in repr(settings)
    assert "callers" not in repr(settings)


def test_a_rules_file_travels_as_text(loaded, tmp_path):
    text = (resources.files("compass_ray") / "data" / "rules.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)

    rules = loaded("routing: {rules: mine.yaml}").rules

    assert rules.text == text
    assert rules.name == str(tmp_path / "mine.yaml")


def test_only_a_local_provider_has_an_engine(loaded, tmp_path):
    settings = loaded("providers: {local: {engine: {model_path: m.gguf, threads: 3}}}")

    engines = {one.name: one.engine for one in settings.providers if one.engine}
    assert list(engines) == ["local"]
    assert engines["local"].model_path == tmp_path / "m.gguf"
    assert (engines["local"].threads, engines["local"].context) == (3, 2048)


def test_a_base_url_loses_its_trailing_slash(loaded):
    settings = loaded("providers: {openai: {base_url: 'http://x:1/v1/'}}")

    assert settings.providers[0].base_url == "http://x:1/v1"


@pytest.mark.parametrize(
    ("written", "mode"),
    [("", "on"), ("on", "on"), ("off", "off"), ("frozen", "frozen"), ('"off"', "off")],
)
def test_learning_is_on_frozen_or_off_however_yaml_reads_it(loaded, written, mode):
    assert loaded(f"routing: {{learning: {written}}}" if written else "").learning == mode


def test_by_default_decisions_are_kept_and_nothing_is_explored(loaded):
    usual = loaded()
    said = loaded("routing: {explore: 0.05, decisions: {keep: 0}}")

    assert (usual.explore, usual.keep_decisions) == (0.0, 100_000)
    assert (said.explore, said.keep_decisions) == (0.05, 0)


def test_the_learned_model_has_a_say_where_the_operator_wants_it(loaded):
    assert not loaded("").learned
    assert loaded("routing: {learned: true}").learned


def test_an_account_s_weights_hold_for_those_below_it(loaded):
    cheap = {"complexity": 0, "tokens": 0, "latency": 0, "cost": 1, "accuracy": 0}
    accounts = {
        "org": {"weights": cheap},
        "team": {"parent": "org"},
        "own": {"parent": "org", "weights": {**cheap, "cost": 0, "accuracy": 1}},
        "other": {},
    }

    plans = loaded("", {"accounts": accounts}).plans

    assert {name: plan.weights.cost for name, plan in plans.items()} == {
        "org": 1,
        "team": 1,
        "own": 0,
    }
