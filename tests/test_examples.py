"""What the documents tell to type exists: modules, names, sub-commands, targets and scripts.

`tests/integration` runs the examples on a real Ray.
"""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from compass_ray.cli import app
from compass_ray.config import load
from compass_ray.config.local_models import load_local_models
from compass_ray.serving.ingress import Ingress
from compass_ray.simulator.process import environment
from compass_ray.simulator.read_script import read

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
README = (ROOT / "README.md").read_text()
HEREDOC = re.compile(r"^cat > (\S+) <<'EOF'\n(.*?)^EOF$", re.DOTALL | re.MULTILINE)
ADDRESS = re.compile(r"\S*http://127\.0\.0\.1:8000(/[\w/]+)")


def blocks(language):
    """Return each code block in that language, of all documents."""
    found = [
        pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
        for path in DOCUMENTS
        for number, (kind, block) in enumerate(BLOCK.findall(path.read_text()))
        if kind == language
    ]
    assert found
    return found


PYTHON = [
    *blocks("python"),
    *(
        pytest.param(path.read_text(), id=str(path.relative_to(ROOT)))
        for path in sorted((ROOT / "examples").rglob("*.py"))
    ),
]
COMMAND = re.compile(r"(?:^|[`/]|# )((?:compass|make) [a-z].*?)\s*(?:`|#|$)", re.MULTILINE)
TYPED = [
    (path.name, words)
    for path in [*DOCUMENTS, ROOT / "compass.example.yaml"]
    for words in COMMAND.findall(path.read_text())
]


def command(words):
    """Return the sub-command that these words name, and the words that are left."""
    found = typer.main.get_command(app)
    while words and not words[0].startswith("-") and hasattr(found, "commands"):
        found, words = found.commands[words[0]], words[1:]
    return found, words


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those within the libraries
@pytest.mark.parametrize("source", PYTHON)
def test_python_compiles_and_imports_what_exists(source):
    tree = ast.parse(source)

    compile(tree, "example", "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), "its import", "exec"), {})


def test_the_documents_name_commands():
    assert {words.split()[0] for _, words in TYPED} == {"compass", "make"}


@pytest.mark.parametrize(("document", "typed"), TYPED)
def test_a_command_that_a_document_names_exists(document, typed):
    program, *words = shlex.split(typed)

    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[0] in targets
        return
    found, left = command(words)
    assert found.name in words
    options = {option for parameter in found.params for option in parameter.opts}
    takes_all = found.context_settings.get("ignore_unknown_options")
    assert takes_all or {word for word in left if word.startswith("-")} <= options


@pytest.mark.parametrize("block", blocks("sh"))
def test_shell_names_routes_and_files_that_exist(block):
    routes = {route.path for route in Ingress(None)._router.routes} | {"/v1/chat/completions"}
    written = {name for name, _ in HEREDOC.findall(block)}
    paths = re.findall(r"\b((?:examples|docs|benchmarks|scripts)/[\w/.]+|[\w]+\.ya?ml)\b", block)

    assert set(ADDRESS.findall(block)) <= routes
    assert [path for path in paths if path not in written and not (ROOT / path).exists()] == []


def test_the_simulator_s_script_can_be_followed():
    ((name, script),) = HEREDOC.findall(README)

    assert f"compass simulate --script {name}" in README
    limited, broken, slow = [rule.then for rule in read(yaml.safe_load(script))]
    assert limited.error.status == 429
    assert broken.fault.name == "cut_after_chunks"
    assert slow.ttft_s > 0


def test_the_variables_are_those_that_the_simulator_prints():
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", README, re.MULTILINE))

    assert exported == environment("http://127.0.0.1:8400")


@pytest.mark.parametrize("block", blocks("yaml"))
def test_settings_would_be_accepted(block, tmp_path):
    digest = "sha256:" + "0" * 64
    (tmp_path / "compass.yaml").write_text(block.replace("sha256:…", digest))

    assert load({}, {}, tmp_path).accounts


APPLICATIONS = [
    *(application for block in blocks("yml") for application in yaml.safe_load(block.values[0])),
    *yaml.safe_load((ROOT / "examples/local_models/serve_config.yaml").read_text())["applications"],
]
LOADED = {
    "deployments.gateway:build": lambda args: load(args, {}, ROOT / "examples"),
    "deployments.local_models:build": load_local_models,
}


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda one: one["name"])
def test_applications_would_be_accepted(application):
    assert LOADED[application["import_path"]](application["args"])
