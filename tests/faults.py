"""Reads from `docs/faults.md` which tests provoke which fault."""

import re
from pathlib import Path

TABLE = Path(__file__).parents[1] / "docs" / "faults.md"
_ROW = re.compile(r"^\| (\d+) \|.*\|([^|]*)\|$", re.MULTILINE)


def cases() -> dict[int, list[str]]:
    """Return the tests of each case, as `path::name` below tests/."""
    return {
        int(number): re.findall(r"`([^`]+)`", tests)
        for number, tests in _ROW.findall(TABLE.read_text())
    }
