"""Unit tests may not open sockets nor start Ray; each test says by a marker what it needs."""

import csv
import gzip
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from .faults import cases

# What trains the routing model is installed apart from what serves: Ray loads it where it finds it.
sys.path.append(str(Path(__file__).parents[1] / ".train"))

settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile("nightly", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_CLEARED = (
    *("OPENAI_", "AZURE_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "HF_", "REPLICATE_"),
    "COMPASS_",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark each test with the faults that it provokes: `-m 'fault(number=21)'` finds it."""
    numbers = {}
    for number, tests in cases().items():
        for test in tests:
            numbers.setdefault(test, []).append(number)
    root = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(root).as_posix()
        name = item.nodeid.partition("::")[2].partition("[")[0].partition("::")[0]
        for number in numbers.get(f"{path}::{name}", ()):
            item.add_marker(pytest.mark.fault(number=number))


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch):
    """No key and no setting of the developer's shell reaches a test."""
    for name in list(os.environ):
        if name.startswith(_CLEARED):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_ray_and_no_sockets(request, monkeypatch):
    """Refuse both to tests that are not marked for them."""
    if request.node.get_closest_marker("ray"):
        return
    if not request.node.get_closest_marker("server"):

        def refuse(*_args, **_kwargs):
            raise AssertionError("a unit test opened a socket: mark it `server` or use a fake")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket.socket, "bind", refuse)

    import ray  # noqa: PLC0415  # unit tests that never import Ray need not pay for it

    def refuse_ray(*_args, **_kwargs):
        raise AssertionError("a unit test started Ray: mark it `ray`")

    monkeypatch.setattr(ray, "init", refuse_ray)


COLUMNS = (
    *("prompt_id", "source", "dataset", "subject", "task_type", "prompt", "approx_tokens"),
    *("group", "strong_q", "strong_cost", "mid_q", "mid_cost", "weak_q", "weak_cost"),
    *("strong_model", "weak_model", "mid_model", "min_tier"),
)
MODELS = {"strong": "big", "mid": "middle", "weak": "small"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of outcomes: sums, which all can do, and theorems, which only the strong can."""
    chance = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("routing")
    (root / "pairs").mkdir()
    outcomes = []
    for file, text, field in (
        ("sums", "What is {} plus {}?", "math"),
        ("theorems", "Prove the theorem of manifold {} over the ring {}.", "proof"),
    ):
        rows = []
        for n in range(120):
            weak = float(chance.random() < (0.9 if file == "sums" else 0.1))
            row = dict.fromkeys(COLUMNS, "") | {
                "prompt_id": f"own:{file}:{n}",
                "source": "own",
                "dataset": file,
                "subject": field,
                "task_type": field,
                "prompt": text.format(*chance.integers(0, 99, 2)),
                "group": n if file == "sums" else 1_000 + n // 2,
                "strong_q": 1.0,
                "strong_cost": 0.01,
                "weak_q": weak,
                "weak_cost": 0.001,
            }
            if file == "sums":
                row |= {"mid_q": 1.0, "mid_cost": 0.003}
            for rank, name in MODELS.items():
                row[f"{rank}_model"] = name
                if row[f"{rank}_q"] != "":
                    outcomes.append((row["prompt_id"], name, row[f"{rank}_q"], 50.0 + n))
            rows.append(row)
        with gzip.open(root / "pairs" / f"{file}.csv.gz", "wt", newline="") as opened:
            writer = csv.DictWriter(opened, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    names = ("prompt_id", "model", "quality", "out_tokens")
    import pyarrow as pa  # noqa: PLC0415  # found by what stands above
    import pyarrow.parquet as pq  # noqa: PLC0415

    columns = dict(zip(names, map(list, zip(*outcomes, strict=True)), strict=True))
    pq.write_table(pa.table(columns), root / "outcomes.parquet")
    return root
