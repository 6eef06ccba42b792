"""Which source wins, and how they merge."""

from datetime import date

import pytest

from compass_ray.types.routing import Tier


def named(settings, model):
    return [endpoint for endpoint in settings.endpoints if endpoint.model == model]


def provider(settings, name):
    return next(one for one in settings.providers if one.name == name)


def test_without_any_source_the_defaults_hold(loaded):
    settings = loaded()

    assert [one.name for one in settings.providers] == [
        *("openai", "azure", "anthropic", "google", "huggingface", "replicate", "local")
    ]
    assert provider(settings, "google").key_names == ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    assert settings.server.max_body_bytes == 20 * 1024 * 1024
    assert settings.callers == {}
    assert settings.anonymous.account == "open"
    assert settings.rules is None


def test_endpoints_of_providers_that_are_not_configured_are_left_out(loaded):
    unknown = {one.provider for one in loaded().endpoints} - {
        one.name for one in loaded().providers
    }

    assert unknown == set()
    assert {one.provider for one in named(loaded(), "gpt-4o")} == {"openai", "azure"}


def test_a_disabled_provider_and_its_endpoints_are_out_of_service(loaded):
    settings = loaded(inline={"providers": {"openai": {"enabled": False}}})

    assert "openai" not in {one.name for one in settings.providers}
    assert "openai" not in {one.provider for one in settings.endpoints}


def test_the_later_source_wins(loaded):
    text = "server: {max_n: 2, max_tools: 2, max_messages: 2}"
    inline = {"server": {"max_n": 3, "max_tools": 3}}

    server = loaded(text, inline, COMPASS_SERVER__MAX_N="4").server

    assert (server.max_n, server.max_tools, server.max_messages) == (4, 3, 2)


def test_mappings_merge_deeply_and_lists_are_replaced(loaded):
    openai = provider(
        loaded("providers: {openai: {key_env: [MINE], timeouts: {idle_s: 7}}}"), "openai"
    )

    assert openai.key_names == ("MINE",)
    assert openai.base_url == "https://api.openai.com/v1"
    assert (openai.timeouts.idle, openai.timeouts.connect) == (7.0, 5.0)


def test_a_model_is_overridden_in_parts_or_removed(loaded):
    before = named(loaded(), "gpt-4o-mini")

    settings = loaded("models: {gpt-4o-mini: {tier: premium}, gpt-4o: null}")

    after = named(settings, "gpt-4o-mini")
    assert [one.wire_model for one in after] == [one.wire_model for one in before]
    assert {one.tier for one in after} == {Tier.PREMIUM}
    assert named(settings, "gpt-4o") == []


def test_a_null_below_a_section_replaces_what_was_there(loaded):
    text = "accounts: {open: {budget: {day: {usd: 1}}}}"

    settings = loaded(text, COMPASS_ACCOUNTS="{open: {budget: null}}")

    assert settings.accounts["open"].limits == ()


@pytest.mark.parametrize("text", ["", "# nothing\n", "server:\naccounts:\nkeys:\n"])
def test_sections_without_a_word_change_nothing(loaded, text):
    assert loaded(text) == loaded()


def test_the_file_is_the_one_that_the_variable_names(loaded, tmp_path):
    other = tmp_path / "etc"
    other.mkdir()
    (other / "my.yaml").write_text("server: {state_dir: state, max_n: 5}")
    (tmp_path / "compass.yaml").write_text("server: {max_n: 6, max_tools: 6}")

    relative = loaded(COMPASS_CONFIG="etc/my.yaml").server
    absolute = loaded(COMPASS_CONFIG=str(other / "my.yaml")).server

    assert relative == absolute
    assert (relative.max_n, relative.max_tools) == (5, 128)
    assert relative.state_dir == other / "state"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"COMPASS_SERVER__LOG_PROMPTS": "true"}, True),
        ({"COMPASS_SERVER": "{log_prompts: true}"}, True),
        ({"COMPASS_SERVER": "{log_prompts: true}", "COMPASS_SERVER__LOG_PROMPTS": "no"}, False),
        ({"COMPASS_SERVER": ""}, False),
    ],
)
def test_a_variable_holds_yaml_and_the_longer_name_wins(loaded, variables, expected):
    assert loaded(**variables).server.log_prompts is expected


def test_variables_that_are_not_settings_are_let_be(loaded):
    others = {
        "COMPASS_DASHBOARD": "1",
        "COMPASS_API_KEY": "ck-x",
        "COMPASS_PORT": "tcp://10.0.0.1:8000",
        "COMPASS_SERVER_SERVICE_HOST": "10.0.0.1",
        "COMPASS_SERVER_PORT_8000_TCP_ADDR": "10.0.0.1",
        "PATH": "/bin",
    }

    assert loaded(**others) == loaded()


def test_the_state_folder_follows_the_platform(loaded, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert loaded().server.state_dir == tmp_path / ".local" / "state" / "compass"
    assert loaded(XDG_STATE_HOME="/s").server.state_dir.as_posix() == "/s/compass"
    assert loaded(XDG_STATE_HOME="relative").server.state_dir == loaded().server.state_dir
    assert loaded("server: {state_dir: ~/x}").server.state_dir == tmp_path / "x"


def test_the_catalogue_says_when_its_prices_were_checked(loaded):
    assert loaded("as_of: '2030-01-31'").prices_as_of == date(2030, 1, 31)
    assert loaded("as_of: 2030-01-31").prices_as_of == date(2030, 1, 31)
