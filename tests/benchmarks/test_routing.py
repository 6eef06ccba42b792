import json
import sys

import numpy as np
import pytest

from benchmarks import routing, routing_cascade, routing_rows, routing_tiers
from compass_ray.training import fit as training
from compass_ray.training.boost import Boosting
from compass_ray.training.rows import read


@pytest.fixture
def quick(monkeypatch):
    """Fewer trees, resamples and requests: what is computed is the same."""
    monkeypatch.setattr(training, "Boosting", lambda: Boosting(trees=5, depth=2, penalty=1.0))
    monkeypatch.setattr(routing_rows, "RESAMPLES", 5)
    monkeypatch.setattr(routing_cascade, "_HOW", Boosting(trees=5, depth=2, importance=(1.0, 0.5)))
    monkeypatch.setattr(routing_cascade, "_FEWEST", 10)
    monkeypatch.setattr(routing, "latency", lambda _model: {"p50_us": 1.0, "p99_us": 2.0})


def test_a_run_learns_measures_and_writes_every_figure(
    folder, quick, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out.json"
    arguments = ["--train", str(folder), "--test", str(folder), "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["routing.py", *arguments])
    routing.main()
    figures = json.loads(out.read_text())

    ranking = figures["ranking"]
    assert ranking["learned"]["pooled"]["apgr"] > ranking["random"]["pooled"]["apgr"]
    assert {"oracle", "perfect label", "prompt length", "rules: tier"} <= set(ranking)
    assert set(ranking["learned"]) == {"pooled", "sums", "theorems"}
    assert {"always cheap", "always mid", "always premium"} <= set(figures["three tiers"])
    intervals = {"quality kept, interval", "cost saved, interval"}
    for way in ("the gateway, frugality 0.076", routing_tiers.EACH):
        assert intervals <= set(figures["three tiers"][way])
    assert "cascade, mid first" in figures["cascade"]["sums"]
    assert "learned" in capsys.readouterr().out


def test_prompts_that_are_tested_on_are_not_learned_from(folder):
    rows = read(folder)
    train, test = routing_rows.halves(rows, 5, seed=1)
    clean = routing_rows.without(train, test)

    assert not set(train.group) & set(test.group)
    assert not set(clean.prompt) & set(test.prompt)
    assert len(clean) < len(train) < len(rows)


def test_an_interval_holds_the_figure_and_narrows_with_more_rows(folder):
    rows = read(folder)

    def mean(picked):
        return float(rows.gain[picked].mean())

    low, high = routing_rows.interval(rows, mean, seed=0)
    assert low < rows.gain.mean() < high < low + 0.5


def test_a_request_s_cost_is_a_line_through_the_sizes_of_its_dataset(folder):
    rows = read(folder)
    costs = routing_tiers.expected_costs(rows, rows)

    sums = rows.file == "sums"
    assert np.allclose(costs[sums], [0.001, 0.003, 0.01])
    assert np.isnan(costs[~sums, 1]).all()


def test_without_a_mid_tier_and_without_answers_the_rest_is_measured(folder, quick):
    rows = read(folder, lambda _source, dataset: dataset == "theorems")
    train, test = routing_rows.halves(rows, 3, seed=1)
    figures, curves = routing.evaluate(train, test, 1, seen_by_the_shipped=False)

    assert figures["three tiers"] == figures["cascade"] == {}
    assert set(figures["ranking"]) >= {"learned", "shipped file"}
    assert len(curves["learned"]["cost"]) == len(curves["learned"]["quality"])
    assert "learned" in routing.summary(figures)
