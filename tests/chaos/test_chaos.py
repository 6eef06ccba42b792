"""The short form of `python -m tests.chaos`: twenty seconds of faults, then every invariant."""

import pytest

from .conftest import SEED
from .run import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


async def test_whatever_happens_every_invariant_holds(world, tmp_path_factory):
    report = await run(world, SEED, 20.0, tmp_path_factory.mktemp("history"))

    assert not report.problems, f"\n{report}"
    assert report.postings > 500
