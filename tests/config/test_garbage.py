"""Whatever is configured, the answer is settings or a ConfigError."""

import contextlib
from datetime import date
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.config import load
from compass_ray.config.schema import Config
from compass_ray.config.sources import gather
from compass_ray.config.validate import validate
from compass_ray.settings import Settings
from compass_ray.types.errors import ConfigError

HERE = Path(__file__).parent

WORDS = st.sampled_from(
    [
        *("as_of", "server", "providers", "models", "accounts", "keys", "routing", "breaker"),
        *("retry", "openai", "local", "open", "gpt-4o", "endpoints", "provider", "price", "input"),
        *(
            "weights",
            "rules",
            "state_dir",
            "base_url",
            "kind",
            "budget",
            "lifetime",
            "usd",
            "parent",
        ),
        *("allowed_models", "hash", "name", "account", "engine", "model_path", "skills", "tier"),
        *("cooldowns_s", "timeouts", "connect_s", "base_url_env", "region", "wire_model", "max_n"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.characters(categories=["Cs"])
    | st.dates()
    | st.binary(max_size=3)
    | WORDS
)
NAMES = WORDS | st.text(max_size=5)
GARBAGE = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES, inner, max_size=4)
        | st.dictionaries(SCALARS.filter(lambda key: not isinstance(key, list)), inner, max_size=2)
    ),
    max_leaves=20,
)


def settings_or_config_error(inline=None, env=None, cwd=HERE):
    with contextlib.suppress(ConfigError):
        assert isinstance(load(inline, env or {}, cwd), Settings)


@given(GARBAGE)
def test_any_inline_settings(value):
    settings_or_config_error(value)


@given(WORDS, GARBAGE)
def test_any_section(name, value):
    settings_or_config_error({name: value})


@given(st.lists(WORDS, min_size=1, max_size=6), GARBAGE)
def test_any_value_deep_inside(path, value):
    for step in reversed(path):
        value = {step: value}

    settings_or_config_error(value)


def places(tree, path=()):
    """Yield the path of everything there is in checked settings."""
    yield path
    if isinstance(tree, dict):
        for name, child in tree.items():
            yield from places(child, (*path, name))


PLAIN = gather(None, {}, HERE).plain()
PLACES = [path for path in places(PLAIN) if path]


@given(st.sampled_from(PLACES), GARBAGE)
def test_any_value_in_place_of_a_good_one(path, value):
    for step in reversed(path):
        value = {step: value}

    settings_or_config_error(value)


@given(st.text() | GARBAGE.map(repr))
def test_any_variable(text):
    settings_or_config_error(env={"COMPASS_SERVER": text, "COMPASS_KEYS": text})


@given(st.binary())
def test_any_file(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("garbage")
    (folder / "compass.yaml").write_bytes(content)

    settings_or_config_error(cwd=folder)


@given(GARBAGE)
def test_any_yaml(value):
    text = ""
    with contextlib.suppress(yaml.YAMLError, TypeError):  # not every value can be written
        text = yaml.safe_dump(value)

    settings_or_config_error(env={"COMPASS_MODELS": text})


def test_numbers_longer_than_python_writes():
    endless = 10**5000

    for value in (endless, {endless: 1}, "9" * 5000):
        settings_or_config_error({"server": {"max_n": value}})
        settings_or_config_error(
            {"accounts": {"a": {"budget": {"day": {"usd": value, "tokens": value}}}}}
        )
    settings_or_config_error(env={"COMPASS_SERVER__MAX_N": "9" * 5000})


def test_settings_that_contain_themselves():
    endless = {}
    endless["server"] = endless

    settings_or_config_error(endless)


def test_a_good_value_in_its_place_is_no_mistake():
    assert validate(gather({"as_of": date(2030, 1, 1)}, {}, HERE), Config)[1] == []
