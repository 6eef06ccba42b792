"""One real Compass with three replicas for the whole folder, and it ends with it."""

import os

import pytest

from .world import running

SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    with running(tmp_path_factory.mktemp("chaos"), SEED) as world:
        yield world


@pytest.fixture(autouse=True)
def _calm_simulator(request):
    if "world" in request.fixturenames:
        request.getfixturevalue("world").simulator.reset()
