import pytest

from compass_ray.serve_config import read, without_inherited
from compass_ray.types.errors import ConfigError

FAST = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}


def test_an_address_that_is_not_named_is_serves_default(tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text("applications: []")

    assert read(file)["http_options"] == {"host": "127.0.0.1", "port": 8000}


def test_a_port_given_replaces_the_one_in_the_file(tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text("http_options: {port: 9000, root_path: /x}")

    assert read(file, 9001)["http_options"] == {
        "host": "127.0.0.1",
        "port": 9001,
        "root_path": "/x",
    }


@pytest.mark.parametrize("text", ["", "[]", "a: [", "http_options: 8000", "applications: [toy]"])
def test_what_is_no_configuration_is_refused_by_name(tmp_path, text):
    file = tmp_path / "serve.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"serve\.yaml"):
        read(file)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"serve\.yaml: No such file"):
        read(tmp_path / "serve.yaml")


def test_variables_that_are_inherited_are_not_asked_for_again():
    config = {
        "controller_options": {"runtime_env": {"env_vars": FAST}},
        "applications": [{"name": "a", "runtime_env": {"env_vars": FAST}}],
    }

    assert without_inherited(config, FAST) == {
        "controller_options": {},
        "applications": [{"name": "a"}],
    }


def test_other_variables_and_other_parts_of_a_runtime_environment_stay():
    runtime = {"working_dir": "/x", "env_vars": {**FAST, "MINE": "2"}}

    changed = without_inherited({"applications": [{"runtime_env": runtime}]}, {**FAST, "MINE": "1"})

    assert changed == {
        "applications": [{"runtime_env": {"working_dir": "/x", "env_vars": {"MINE": "2"}}}]
    }
