"""Every mistake is refused with the place where it was made."""

import traceback

import pytest

HASH = "sha256:" + "a" * 64
SECRET = "sk-proj-Canary0123456789abcdef"

MODEL = "models: {m: {tier: 1, context_window: 9, max_output_tokens: 9, endpoints: [%s]}}"

BROKEN = {
    "a: [1": "compass.yaml:1: not YAML",
    "server: {max_n: 1, max_n: 2}": "compass.yaml:1: server.max_n: is given twice",
    "server:\n  max_n: 1\n  max_n: 2": "compass.yaml:3: server.max_n: is given twice",
    "\nserver: {max_bodybytes: 1}": (
        "compass.yaml:2: server.max_bodybytes: unknown key; did you mean 'max_body_bytes'?"
    ),
    "retry:\n  zzz: 1": (
        "compass.yaml:2: retry.zzz: unknown key; "
        "known are backoff_base_s, backoff_max_s, budget, budget_floor, "
        "hedge_after_s, max_attempts"
    ),
    "severs: {}": "compass.yaml:1: severs: unknown key; did you mean 'server'?",
    "providers: {openai: {api_key: x}}": "compass.yaml:1: providers.openai.api_key: unknown key",
    "providers:\n  openai:\n    timeouts:\n      conect_s: 1": (
        "compass.yaml:4: providers.openai.timeouts.conect_s: unknown key; did you mean 'connect_s'?"
    ),
    "accounts: {a: {budget: {day: {usd_: 1}}}}": (
        "compass.yaml:1: accounts.a.budget.day.usd_: unknown key; did you mean 'usd'?"
    ),
    "- 1": "compass.yaml:1: must be a mapping",
    "server: 3": "compass.yaml:1: server: must be a mapping",
    "keys: 3": "compass.yaml:1: keys: must be a list",
    "server: {max_n: '8'}": "compass.yaml:1: server.max_n: must be a whole number",
    "server: {max_n: true}": "compass.yaml:1: server.max_n: must be a whole number",
    "server: {max_n: 1.5}": "compass.yaml:1: server.max_n: must be a whole number",
    "server: {max_n: 0}": "compass.yaml:1: server.max_n: must be at least 1",
    "server: {max_n: 999}": "compass.yaml:1: server.max_n: must be at most 128",
    "server: {max_n: null}": "compass.yaml:1: server.max_n: must be a whole number",
    "server: {log_prompts: 1}": "compass.yaml:1: server.log_prompts: must be true or false",
    "server: {request_timeout_s: .nan}": "server.request_timeout_s: must be a finite number",
    "server: {request_timeout_s: 0}": "server.request_timeout_s: must be more than 0",
    "server: {state_dir: ''}": "server.state_dir: must not be empty",
    "server: {state_dir: ~nobody-of-that-name/x}": (
        "compass.yaml:1: server.state_dir: names a home folder that is not there"
    ),
    "server: {max_n: 0777777777777777777777777777777777777777}": "server.max_n: must be at most",
    "server: {max_n: 2026-99-99}": "server.max_n: is not a value that YAML knows",
    "server: {max_n: !!binary aGk=}": "server.max_n: must not be binary",
    "server: {max_n: !mine 3}": "server.max_n: is not a value that YAML knows",
    "server: !mine {max_n: 3}": "server: the tag '!mine' is not for settings",
    "1: 2": "compass.yaml:1: the key '1' must be text: quote it",
    "accounts: {no: {}}": "compass.yaml:1: accounts: the key 'no' must be text: quote it",
    "{[a]: 1}": "compass.yaml:1: the key 'of a mapping' must be text",
    "x: &x {max_n: 1}\nserver: {<<: *x}": "compass.yaml:2: server: merge keys (<<) are not read",
    "routing:\n  escalation: {judge: nobody/m}": (
        "compass.yaml:2: routing.escalation.judge: names no endpoint that is in use"
    ),
    "routing: {experiments: [{name: a, share: 0.6, variant: {tiers: {code: 1}}}]}": (
        "compass.yaml:1: routing.experiments[0].share: must be at most 0.5"
    ),
    "routing: {experiments: [{name: a, share: 0.5, variant: {}}]}": (
        "routing.experiments[0].variant: must name weights, frugality or tiers"
    ),
    "routing: {experiments: [{name: a, share: 0.5, variant: {tiers: {sql: 1}}}]}": (
        "routing.experiments[0].variant.tiers.sql: must be one of 'simple_qa', 'code'"
    ),
    "routing: {experiments: [{name: a, share: 0.5, variant: {frugality: 1}}]}": (
        "routing: an experiment's frugality takes learned: true"
    ),
    "routing: {experiments: [{name: a, share: 0.1, variant: &v {weights: {}}},"
    " {name: a, share: 0.1, variant: *v}]}": "routing: two experiments have the same name",
    "routing: {decisions: {keep: 0},"
    " experiments: [{name: a, share: 0.5, variant: {weights: {}}}]}": (
        "routing: experiments take decisions.keep: without it nothing is known of them"
    ),
    "workflows: {webhooks: {allow: ['https://h.test']}}": (
        "workflows.webhooks: allow takes secret_env: webhooks are signed"
    ),
    "workflows: {webhooks: {allow: ['https://u:p@h.test']}}": (
        "workflows.webhooks.allow[0]: must not hold a user or password"
    ),
    "workflows: {webhooks: {secret_env: ['whsec_a/b']}}": (
        "workflows.webhooks.secret_env[0]: must be the name of an environment variable"
    ),
    "as_of: soon": "compass.yaml:1: as_of: ",
    "providers: {p: {base_url: 'http://x'}}": "providers.p.kind: is missing",
    "providers: {p: {kind: opnai}}": "providers.p.kind: must be one of 'openai', 'azure'",
    "providers: {p: {kind: openai}}": "providers.p: needs base_url or base_url_env",
    "providers: {openai: {more_keys_env: [sk-1]}}": "name of an environment variable, never a key",
    "providers: {local: {more_keys_env: [A]}}": "providers.local: a local provider runs its own",
    "models: {m: {embedding: {dimensions: 0}}}": "models.m.embedding.dimensions: ",
    "models: {gpt-6-astra: {embedding: {dimensions: 2}}}": "makes embeddings has no max_output",
    "models: {text-embedding-3-small: {embedding: null}}": "3-small: needs max_output_tokens",
    "models: {m: {tier: 4, context_window: 9, embedding: {dimensions: 2}, endpoints: "
    "[{provider: anthropic, wire_model: m}]}}": "0].provider: anthropic makes no embeddings",
    "providers: {a/b: {kind: local}}": "providers.a/b: must be a name: letters",
    "providers: {openai: {api_version: 2024-10-21}}": "providers.openai: only a provider of kind a",
    "providers: {azure: {api_version: latest}}": "providers.azure.api_version: must be a dated",
    "providers: {openai: {engine: {}}}": "providers.openai: only a provider of kind local has",
    "providers: {local: {base_url: 'http://x'}}": "providers.local: a local provider runs its own",
    "providers: {openai: {base_url: 'ftp://x'}}": "base_url: must be an http:// or https:// URL",
    "providers: {openai: {base_url: 'http://'}}": "base_url: must be an http:// or https:// URL",
    "providers: {openai: {base_url: 'http://x:99999'}}": "base_url: must be a URL",
    "providers: {openai: {base_url: 'http://[x'}}": "base_url: must be a URL",
    "providers: {openai: {base_url: 'http://x?y=1'}}": "base_url: must be a URL without query",
    'providers: {openai: {base_url: "http://x/\\ny"}}': "base_url: must be a URL without query",
    f"providers: {{openai: {{base_url: 'http://me:{SECRET}@x'}}}}": (
        "compass.yaml:1: providers.openai.base_url: must not hold a user or password"
    ),
    f"providers: {{openai: {{key_env: [{SECRET}]}}}}": (
        "compass.yaml:1: providers.openai.key_env[0]: must be the name of an environment variable"
    ),
    f"providers: {{openai: {{key_env: {SECRET}}}}}": "providers.openai.key_env: must be a list",
    f"providers: {{{SECRET}: {{kind: local}}, b: 1}}": "providers.b: must be a mapping",
    f"{SECRET}: 1": "compass.yaml:1: ***: unknown key",
    MODEL % "": "compass.yaml:1: models.m.endpoints: must hold at least 1",
    MODEL % "{provider: opena, wire_model: x}": (
        "compass.yaml:1: models.m.endpoints[0].provider: "
        "unknown provider 'opena'; did you mean 'openai'?"
    ),
    MODEL % "{provider: openai}": "models.m.endpoints[0].wire_model: is missing",
    MODEL % "{provider: openai, wire_model: x}, {provider: openai, wire_model: y}": (
        "models.m.endpoints[1]: is the second with this provider; give each a region"
    ),
    MODEL % "{provider: openai, wire_model: x, price: {input: 1}}": "price.output: is missing",
    MODEL % "{provider: openai, wire_model: x, price: {input: -1, output: 1}}": (
        "models.m.endpoints[0].price.input: must not be negative"
    ),
    MODEL % "{provider: openai, wire_model: x, price: {input: .nan, output: 1}}": (
        "models.m.endpoints[0].price.input: must be a finite number"
    ),
    MODEL % "{provider: openai, wire_model: x, price: {input: 1, output: 0.0000001}}": (
        "price.output: must not be finer than 0.000001 dollars per million tokens"
    ),
    MODEL % "{provider: openai, wire_model: x, price: {input: 1, output: '1e30'}}": (
        "price.output: is more than there is"
    ),
    "models: {auto: null}": "compass.yaml:1: models.auto: 'auto' asks Compass to choose",
    "models:\n  GPT-4o: {tier: 1}": "compass.yaml:2: models.GPT-4o: differs from 'gpt-4o' in case",
    "models: {gpt-4o: {tier: 5}}": "models.gpt-4o.tier: must be one of 1, 2, 3, 4, 'premium'",
    "models: {gpt-4o: {max_output_tokens: 999999}}": "models.gpt-4o: max_output_tokens exceeds",
    "models: {gpt-4o: {skills: {codng: 5}}}": "models.gpt-4o.skills.codng: must be one",
    "models: {gpt-4o: {skills: {coding: 6}}}": "models.gpt-4o.skills.coding: must be at most 5",
    "models: {gpt-4o: {capabilities: [smell]}}": "models.gpt-4o.capabilities[0]: must be one of",
    "accounts:\n  a: {parent: b}": "compass.yaml:2: accounts.a.parent: unknown account 'b'",
    "accounts:\n  a:\n    parent: b\n  b:\n    parent: a": (
        "compass.yaml:3: accounts.a.parent: goes round in a circle: a -> b -> a"
    ),
    "accounts: {a: {parent: a}}": "accounts.a.parent: goes round in a circle: a -> a",
    "accounts: {a: {budget: {day: {usd: -1}}}}": "usd: must not be negative",
    "accounts: {a: {budget: {day: {usd: 0.0000001}}}}": (
        "compass.yaml:1: accounts.a.budget.day.usd: must not be finer than a micro-dollar"
    ),
    "accounts: {a: {budget: {day: {usd: '1.00000000000000000000000000000001'}}}}": (
        "usd: must not be finer than a micro-dollar"
    ),
    "accounts: {a: {budget: {day: {usd: '1e-999999999'}}}}": "usd: must be written in plain",
    "accounts: {a: {budget: {day: {usd: .inf}}}}": "usd: must be a finite number",
    "accounts: {a: {budget: {day: {usd: yes}}}}": "usd: must be a number or a decimal",
    "accounts: {a: {budget: {day: {usd: 10 dollars}}}}": "usd: must be a number or a decimal",
    "accounts: {a: {budget: {day: {usd: 9000000000000}}}}": "usd: is more than there is",
    "accounts: {a: {budget: {week: {usd: 1}}}}": "accounts.a.budget.week: unknown key",
    "accounts: {a: {budget: {day: {}}}}": "accounts.a.budget.day: needs usd, tokens or requests",
    "accounts: {a: {budget: {time_zone: Mars/Olympus}}}": (
        "accounts.a.budget.time_zone: must be a time zone's name, such as Europe/Berlin"
    ),
    "accounts: {a: {budget: {time_zone: ../../etc/passwd}}}": "must be a time zone's name",
    "providers: {openai: {limits: {adaptive: {floor: 9, ceiling: 8}}}}": (
        "providers.openai.limits.adaptive: floor must not be above ceiling"
    ),
    "accounts: {a: {rates: {parallel: 0}}}": "accounts.a.rates.parallel: must be at least 1",
    "accounts: {'provider:x': {}}": "accounts.provider:x: 'provider:' begins the limits of",
    "providers: {openai: {budget: {day: {usd: 1}}}}\nmodels:\n  m:\n    tier: 1\n"
    "    context_window: 9\n    max_output_tokens: 9\n"
    "    endpoints: [{provider: openai, wire_model: m}]": (
        "compass.yaml:1: providers.openai.budget: cannot hold for m, which has no price there"
    ),
    "providers: {openai: {budget: {day: {usd: 1}}}}\nmodels:\n  m:\n    tier: 1\n"
    "    context_window: 9\n    max_output_tokens: 9\n"
    "    endpoints: [{provider: openai, wire_model: m, price: null}]": "which has no price there",
    "alerts: {at: [0]}": "alerts.at[0]: must be at least 1",
    "alerts: {webhook: 'ftp://x'}": "alerts.webhook: must be an http:// or https:// URL",
    "routing: {thrift: [{used: 2, cost_factor: 2}]}": "thrift[0].used: must be at most 1",
    "accounts: {a@b: {}}": "compass.yaml:1: accounts.a@b: must be a name: letters",
    "accounts: {a: {allowed_models: ['gtp-*']}}": "allowed_models[0]: no model is like 'gtp-*'",
    "accounts: {open: null}": "compass.yaml:1: accounts.open: must be a mapping",
    f"keys:\n  - {{name: k, hash: {SECRET}, account: open}}": (
        "compass.yaml:2: keys[0].hash: must be 'sha256:' and 64 hex digits, never the key itself"
    ),
    f"keys: [{{name: k, hash: '{HASH}', account: opn}}]": (
        "keys[0].account: unknown account 'opn'; did you mean 'open'?"
    ),
    f"keys:\n- {{name: k, hash: '{HASH}', account: open}}\n"
    f"- {{name: l, hash: '{HASH.upper().lower()}', account: open}}": (
        "compass.yaml:3: keys[1].hash: is the same as that of keys[0]"
    ),
    f"keys:\n- {{name: k, hash: '{HASH}', account: open}}\n"
    f"- {{name: k, hash: 'sha256:{'b' * 64}', account: open}}": (
        "compass.yaml:3: keys[1].name: is the same as that of keys[0]"
    ),
    "routing:\n  weights: {cost: 0.2}": (
        "compass.yaml:2: routing.weights: the weights sum to 1.05, not to 1"
    ),
    "routing: {weights: {cost: -0.1}}": "routing.weights.cost: must be at least 0",
    "routing: {rules: nowhere.yaml}": "compass.yaml:1: routing.rules: no such file or directory",
    "routing: {rules: compass.yaml}": "compass.yaml:1: ",
    "breaker: {cooldowns_s: []}": "breaker.cooldowns_s: must hold at least 1",
    "breaker:\n  cooldowns_s:\n    - 60\n    - -1": (
        "compass.yaml:4: breaker.cooldowns_s[1]: must be more than 0"
    ),
    "retry: {backoff_base_s: 9}": "compass.yaml:1: retry: backoff_base_s exceeds backoff_max_s",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_mistake_in_the_file_is_refused_with_its_place(refusal, text):
    error = refusal(text)

    assert BROKEN[text] in str(error)
    assert "compass.yaml" in error.file


@pytest.mark.parametrize("text", [text for text in BROKEN if SECRET in text])
def test_a_secret_in_the_wrong_place_is_never_repeated(refusal, text):
    error = refusal(text)

    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__dict__)
    assert "Canary" not in told


def test_a_mistake_says_file_line_and_key_as_data(refusal):
    error = refusal("server:\n  max_n: 0")

    assert (error.file, error.line, error.key) == ("compass.yaml", 2, "server.max_n")


def test_all_mistakes_are_told_the_first_one_first(refusal):
    error = refusal(
        "retry: {max_attempts: 0}\naccounts: {a: {parent: x}}\nbreaker: {probes: 0}",
        inline={"server": {"max_n": 0}},
        COMPASS_SERVER__MAX_TOOLS="0",
    )

    assert str(error).splitlines() == [
        "compass.yaml:1: retry.max_attempts: must be at least 1",
        "compass.yaml:2: accounts.a.parent: unknown account 'x'; known are a, open",
        "compass.yaml:3: breaker.probes: must be at least 1",
        "serve_config.yaml args: server.max_n: must be at least 1",
        "environment variable COMPASS_SERVER__MAX_TOOLS: server.max_tools: must be at least 1",
    ]


def test_a_long_list_of_mistakes_ends(refusal):
    error = refusal("\n".join(f"x{n}: 1" for n in range(50)))

    assert len(str(error).splitlines()) == 21
    assert str(error).endswith("and 30 more")


@pytest.mark.parametrize(
    ("inline", "message"),
    [
        ({"server": {"max_nn": 1}}, "serve_config.yaml args: server.max_nn: unknown key; did you"),
        ({"server": {1: 1}}, "serve_config.yaml args: server: the key of type int must be text"),
        ({"server": {"max_n": object()}}, "server.max_n: of type object is no setting"),
        ([1], "serve_config.yaml args: must be a mapping"),
    ],
)
def test_a_mistake_in_the_inline_settings_is_refused(refusal, inline, message):
    assert message in str(refusal(inline=inline))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("COMPASS_SERVER__MAX_NN", "1", "server.max_nn: unknown key; did you mean 'max_n'?"),
        ("COMPASS_SERVER__MAX_N", "[", "not YAML"),
        ("COMPASS_SERVER__MAX_N", "eight", "server.max_n: must be a whole number"),
        ("COMPASS_SERVR__MAX_N", "1", "servr: unknown key; did you mean 'server'?"),
        ("COMPASS_SERVER_MAX_N", "1", "levels are parted by two underscores"),
        ("COMPASS_KEYS", "[{name: a}, {name: a}]", "keys[0].hash: is missing"),
        ("COMPASS_SERVER____X", "1", "server.: unknown key"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable(refusal, name, value, message):
    error = str(refusal(**{name: value}))

    assert error.startswith(f"environment variable {name}: ")
    assert message in error


def test_a_base_url_out_of_the_environment_is_checked_too(refusal):
    error = refusal(OPENAI_BASE_URL=f"https://me:{SECRET}@host")

    assert str(error) == (
        "environment variable OPENAI_BASE_URL: providers.openai.base_url_env[0]: "
        "must not hold a user or password: keys come from the environment"
    )


def test_a_file_that_cannot_be_read_is_named(refusal, tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"server:\n  state_dir: caf\xe9")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))

    assert str(refusal(COMPASS_CONFIG="no.yaml")) == "no.yaml: no such file or directory"
    assert str(refusal(COMPASS_CONFIG=".")) == ".: is a directory"
    assert str(refusal(COMPASS_CONFIG="a\0b")) == "a\0b: cannot be read"
    assert str(refusal(COMPASS_CONFIG="latin.yaml")) == "latin.yaml:2: is not UTF-8"
    assert str(refusal(COMPASS_CONFIG="huge.yaml")) == "huge.yaml: is longer than 4,194,304 bytes"


def test_a_file_of_anchors_that_explodes_is_refused(refusal):
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    assert "too many values" in str(refusal("\n".join(bomb)))
    assert "nested too deeply" in str(refusal("a: &a [*a]"))
    assert "nested too deeply" in str(refusal("a: " + "[" * 40 + "]" * 40))
    assert "not YAML: too deep" in str(refusal("[" * 100_000))


def test_an_unsound_rules_file_is_named_with_its_line(refusal, tmp_path):
    (tmp_path / "rules.yaml").write_text("read_chars: 300\nread_chars: 300\n")

    error = refusal("routing: {rules: rules.yaml}")

    assert error.file.endswith("rules.yaml")
    assert error.line == 2
