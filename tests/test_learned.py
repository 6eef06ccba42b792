from importlib import resources

import numpy as np
import pytest

from compass_ray import learned
from compass_ray.policy.quality import SCORES, expect
from compass_ray.policy.verifier import chance_right
from compass_ray.training.licences import ANSWERS
from compass_ray.types.errors import ConfigError

DATA = resources.files("compass_ray") / "data"
CLEAN = {"routellm:mmlu", "routellm:gsm8k", "zeroeval", "mmlupro", "llmrouter"}


def test_the_shipped_model_is_small_and_says_where_it_comes_from():
    provenance = learned.shipped_model().provenance

    assert len((DATA / "quality.npz").read_bytes()) <= 5_000_000
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


def test_the_shipped_verifier_is_small_and_says_where_it_comes_from():
    provenance = learned.shipped_verifier().provenance

    assert len((DATA / "verifier.npz").read_bytes()) <= 100_000
    assert set(provenance["rows"]) == set(provenance["licences"]) == set(ANSWERS)
    assert provenance["held_out_figures"]["gsm auc of the verifier, mean of the models'"] >= 0.7


def test_a_verifier_is_the_same_after_a_round_trip(tmp_path):
    verifier = learned.shipped_verifier()
    learned.write_verifier(verifier, tmp_path / "v.npz")
    again = learned.read_verifier((tmp_path / "v.npz").read_bytes(), "v.npz")

    assert chance_right("1 + 1?", "2", again) == chance_right("1 + 1?", "2", verifier)
    assert (again.tasks, again.provenance) == (verifier.tasks, verifier.provenance)


def test_what_is_no_verifier_is_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="not a verifier"):
        learned.read_verifier((DATA / "quality.npz").read_bytes(), "quality.npz")
    verifier = learned.shipped_verifier()
    monkeypatch.setattr(learned, "FEATURES", ("something else",))
    learned.write_verifier(verifier, tmp_path / "old.npz")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="another version"):
        learned.read_verifier((tmp_path / "old.npz").read_bytes(), "old.npz")
