from importlib import resources

import numpy as np
import pytest

from compass_ray import learned
from compass_ray.policy.quality import SCORES, expect
from compass_ray.types.errors import ConfigError

FILE = resources.files("compass_ray") / "data" / "quality.npz"
CLEAN = {"routellm:mmlu", "routellm:gsm8k", "zeroeval", "mmlupro", "llmrouter"}


def test_the_shipped_model_is_small_and_says_where_it_comes_from():
    provenance = learned.shipped_model().provenance

    assert len(FILE.read_bytes()) <= 5_000_000
    assert set(provenance["licences"]) == CLEAN
    assert all(
        source in CLEAN or source.partition(":")[0] in CLEAN for source in provenance["rows"]
    )
    assert provenance["held_out_figures"]["apgr pooled"] >= 0.6
    assert {"made_by", "date", "seed"} <= set(provenance)


def test_a_model_is_the_same_after_a_round_trip(tmp_path):
    model = learned.shipped_model()
    learned.write(model, tmp_path / "m.npz")
    again = learned.read((tmp_path / "m.npz").read_bytes(), "m.npz")
    scores = dict.fromkeys(SCORES, 2)

    assert expect("how many?", scores, again) == expect("how many?", scores, model)
    assert again.provenance == model.provenance


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", b"hello"])
def test_a_damaged_file_is_refused_by_name(data):
    with pytest.raises(ConfigError, match="not a quality model") as caught:
        learned.read(data, "mine.npz")

    assert caught.value.file == "mine.npz"


def test_a_pickle_is_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", about=np.array([{"made_for": {}}], object))

    with pytest.raises(ConfigError, match="not a quality model"):
        learned.read((tmp_path / "evil.npz").read_bytes(), "evil.npz")


def test_a_model_for_other_features_is_refused(tmp_path, monkeypatch):
    model = learned.shipped_model()
    monkeypatch.setattr(learned, "_FORMAT", 0)
    learned.write(model, tmp_path / "old.npz")
    monkeypatch.undo()

    with pytest.raises(ConfigError, match="another version"):
        learned.read((tmp_path / "old.npz").read_bytes(), "old.npz")
