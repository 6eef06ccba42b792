"""`docs/faults.md` names a test for every fault, and the tests that it names exist."""

import ast
from pathlib import Path

import pytest

from .faults import cases

LISTED = {*range(1, 29), 32, *range(45, 51), 52, 53, 62, 66}
"""Cases that must have a test."""


def test_every_case_has_a_test():
    assert {number for number, tests in cases().items() if tests} >= LISTED


@pytest.mark.parametrize("name", sorted({name for tests in cases().values() for name in tests}))
def test_a_test_that_the_table_names_exists(name):
    path, _, wanted = name.partition("::")
    tree = ast.parse((Path(__file__).parent / path).read_text())

    assert wanted in _names(tree)


def _names(tree: ast.Module) -> set[str]:
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return functions | assigned
