"""A few structural facts that keep the code readable, beside the import contracts."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "compass_ray"
MODULES = sorted(PACKAGE.rglob("*.py"))
HOT_PATH = ("gateway", "providers", "policy", "types")


def functions(path):
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def name(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_file_holds_one_concept_and_a_function_fits_a_screen(path):
    long = [f.name for f in functions(path) if f.end_lineno - f.lineno >= 60]

    assert len(path.read_text().splitlines()) <= 400
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_gateway_s_only_remote_calls_are_in_the_handles():
    calling = {
        name(path)
        for path in MODULES
        if any(
            isinstance(node, ast.Attribute) and node.attr == "remote"
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }

    models = "serving/model_deployments.py"  # an application of its own
    assert calling <= {"actors/handles.py", "serving/authorities.py", models}


def test_the_pipeline_fits_a_few_screens():
    assert len((PACKAGE / "gateway" / "pipeline.py").read_text().splitlines()) <= 260


@pytest.mark.parametrize("package", ["policy", "gateway", "actors", "storage", "serving"])
def test_every_module_is_tested_under_its_name_or_by_its_neighbours(package):
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    untested = {
        path.stem
        for path in (PACKAGE / package).glob("*.py")
        if path.stem != "__init__" and path.stem not in tested
    }

    assert untested <= ACCEPTED
    assert ACCEPTED & tested == set()


ACCEPTED = {
    "admission",  # tests/gateway/test_pipeline.py, as the next six
    "attempts",
    "chooser",
    "call",
    "job",
    "records",
    "reply",
    "fields",  # tests/gateway/test_parse.py, as the next
    "preferences",
    "ports",  # protocols only
    "billing",  # tests/gateway/test_pipeline.py: charges are asserted there
    "step_check",  # tests/policy/test_workflows.py
    "complexity",  # tests/policy/test_classify.py
    "filter",  # tests/policy/test_select.py
    "orders",  # tests/serving/test_workflows.py
    "answer_headers",  # tests/serving/test_ingress.py
    "judge",  # tests/gateway/test_escalate.py
    "callers",  # tests/storage/test_workflows.py
    "files",  # tests/serving/test_batches.py, as the next four
    "uploads",
    "lines",
    "listing",
    "batch_routes",
    "routes",  # tests/serving/test_ingress.py
    "orphans",  # tests/serving/test_workflows.py
    "shifts",  # tests/actors/test_learner.py
    "handles",  # tests/integration: they only talk with Ray, as the next three
    "unwatched",
    "app",
    "serve_run",
    "model_deployments",  # tests/vllm: a real vLLM, as the next
    "vllm_engine",
}
