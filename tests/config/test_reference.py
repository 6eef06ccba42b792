"""The example, the JSON schema and the page about them are true."""

import json
import re
import runpy
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml

from compass_ray.config import json_schema

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = (ROOT / "compass.example.yaml").read_text(encoding="utf-8")
USED = re.sub(r"^( *)#(?=[^ #\n])", r"\1", EXAMPLE, flags=re.MULTILINE)
"""With the examples' "#" taken away, as its first lines say."""
SHIPPED = resources.files("compass_ray") / "data"
WRITER = runpy.run_path(str(ROOT / "scripts" / "write_config_reference.py"))


def as_json(text):
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((SHIPPED / "compass.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_example_says_what_the_defaults_are(loaded):
    assert loaded(EXAMPLE) == loaded()


def test_the_examples_in_the_example_work(loaded, tmp_path):
    (tmp_path / "rules.yaml").write_text((SHIPPED / "rules.yaml").read_text(encoding="utf-8"))

    settings = loaded(USED)

    assert [caller.key_name for caller in settings.callers.values()] == ["alice"]
    assert {"company", "research"} < set(settings.accounts)
    assert {"house"} < {one.name for one in settings.providers}
    assert "house-coder" in {one.model for one in settings.endpoints}


def test_the_example_shows_every_setting():
    missing = [
        name
        for section in [json_schema(), *json_schema()["$defs"].values()]
        for name in section.get("properties", {})
        if not re.search(rf"\b{name}\b:", USED)
    ]

    assert missing == []


@pytest.mark.parametrize("text", [EXAMPLE, USED])
def test_the_example_is_valid_by_the_json_schema(validator, text):
    validator.validate(as_json(text))


@pytest.mark.parametrize("name", ["defaults.yaml", "catalogue.yaml", "legacy_models.yaml"])
def test_the_shipped_files_are_valid_by_the_json_schema(validator, name):
    validator.validate(as_json((SHIPPED / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "text",
    [
        "severs: {}",
        "server: {max_n: 0}",
        "server: {max_n: eight}",
        "keys: [{name: a}]",
        "accounts: {a@b: {}}",
        "models: {m: {endpoints: [{provider: x}]}}",
    ],
)
def test_the_json_schema_refuses_what_the_program_refuses(validator, refusal, text):
    refusal(text)

    assert not validator.is_valid(as_json(text))


def test_the_json_schema_is_fresh():
    written = (SHIPPED / "compass.schema.json").read_text(encoding="utf-8")

    assert written == WRITER["schema_text"](), "run scripts/write_config_reference.py"


def test_the_table_of_settings_is_fresh():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert page.partition(WRITER["MARK"])[2] == WRITER["table"](), (
        "run scripts/write_config_reference.py"
    )
