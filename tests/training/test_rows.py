import numpy as np
import pytest

from compass_ray.training.rows import MID, STRONG, WEAK, folds, read


def test_qualities_costs_and_answers_are_read_by_rank(folder):
    rows = read(folder)

    assert len(rows) == 240
    sums = rows.where(rows.file == "sums")
    assert (sums.quality[:, STRONG] == 1).all()
    assert sums.cost[0].tolist() == [0.001, 0.003, 0.01]
    assert sums.answer_tokens[3].tolist() == [53.0, 53.0, 53.0]
    theorems = rows.where(rows.file == "theorems")
    assert np.isnan(theorems.quality[:, MID]).all()
    assert theorems.gain.tolist() == (1 - theorems.quality[:, WEAK]).tolist()


def test_ease_is_how_much_better_than_usual_all_models_did(folder):
    rows = read(folder)

    theorems = rows.where(rows.file == "theorems")
    easy = theorems.quality[:, WEAK] == 1
    assert theorems.ease[easy].min() > 0 > theorems.ease[~easy].max()


def test_only_wanted_rows_are_read(folder):
    rows = read(folder, lambda source, dataset: (source, dataset) == ("own", "sums"))

    assert set(rows.file) == {"sums"}


def test_near_duplicates_share_a_fold(folder):
    rows = read(folder)
    fold = folds(rows, 5, seed=1)

    assert set(fold) == set(range(5))
    for group in np.unique(rows.group):
        assert len(set(fold[rows.group == group])) == 1
    assert (folds(rows, 5, seed=1) == fold).all()


def test_a_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="pairs"):
        read(tmp_path)
