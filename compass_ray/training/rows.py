"""Outcomes of models on prompts, read from a folder of public data or of one's own traffic.

The folder holds `pairs/*.csv.gz`, one row a prompt with the quality and cost of a strong, a mid
and a weak model (premium, balanced and fast), and `outcomes.parquet`, one row for each prompt and
model. Columns are named in docs/routing.md.
"""

import csv
import gzip
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

RANKS = ("weak", "mid", "strong")
"""The columns' names for fast, balanced and premium, in this order in all arrays."""
WEAK, MID, STRONG = range(3)


@dataclass(frozen=True, slots=True)
class Rows:
    """n prompts; arrays of length n, or (n, 3) by rank. NaN where nothing is known.

    `file` is the pairs file a prompt came from: within one, the three models are the same. `ease`
    is how much better than their mean all models known did on the prompt. `answer_tokens` are the
    lengths of the answers.
    """

    prompt: NDArray[np.object_]
    file: NDArray[np.str_]
    source: NDArray[np.str_]
    subject: NDArray[np.str_]
    field: NDArray[np.str_]
    group: NDArray[np.int64]
    """Near-duplicates share one."""
    quality: Floats
    cost: Floats
    """US dollars."""
    ease: Floats
    answer_tokens: Floats

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def gain(self) -> Floats:
        """Return how much better the strong model's answer was than the weak one's."""
        return np.asarray(self.quality[:, STRONG] - self.quality[:, WEAK])

    def where(self, mask: Mask) -> "Rows":
        """Return the rows that a mask picks."""
        return replace(self, **{one.name: getattr(self, one.name)[mask] for one in fields(self)})


def read(folder: Path, keep: Callable[[str, str], bool] = lambda _source, _dataset: True) -> Rows:
    """Read all rows of the (source, dataset)s that `keep` accepts, in the order of the files.

    Raises:
        FileNotFoundError: there is no pairs file.
    """
    paths = sorted((folder / "pairs").glob("*.csv.gz"))
    if not paths:
        raise FileNotFoundError(f"no pairs/*.csv.gz in {folder}")
    csv.field_size_limit(1 << 30)
    rows = [(path.name.removesuffix(".csv.gz"), row) for path in paths for row in _lines(path)]
    rows = [(file, row) for file, row in rows if keep(row["source"], row["dataset"])]
    ease, tokens = _outcomes(folder / "outcomes.parquet", [row for _, row in rows])
    return Rows(
        prompt=np.array([row["prompt"] for _, row in rows], object),
        file=np.array([file for file, _ in rows]),
        source=np.array([f"{row['source']}:{row['dataset']}" for _, row in rows]),
        subject=np.array([f"{row['source']}:{row['dataset']}|{row['subject']}" for _, row in rows]),
        field=np.array([row["task_type"] for _, row in rows]),
        group=np.array([int(row["group"]) for _, row in rows], np.int64),
        quality=_numbers(row[f"{rank}_q"] for _, row in rows for rank in RANKS),
        cost=_numbers(row[f"{rank}_cost"] for _, row in rows for rank in RANKS),
        ease=ease,
        answer_tokens=tokens,
    )


def folds(rows: Rows, count: int, seed: int) -> NDArray[np.int64]:
    """Return a fold's number for each row; rows of one group are in the same."""
    groups, place = np.unique(rows.group, return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, count, len(groups))
    return np.asarray(drawn[place], np.int64)


def _lines(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _numbers(texts: Iterable[str]) -> Floats:
    values = [float(text) if text else np.nan for text in texts]
    return np.array(values).reshape(-1, len(RANKS))


def _outcomes(path: Path, rows: list[dict[str, str]]) -> tuple[Floats, Floats]:
    """Return ease (n,) and answer_tokens (n, 3)."""
    ease = np.full(len(rows), np.nan)
    tokens = np.full((len(rows), len(RANKS)), np.nan)
    if not path.exists():
        return ease, tokens
    columns = ["prompt_id", "model", "quality", "out_tokens"]
    table = pq.read_table(path, columns=columns).to_pydict()
    by_prompt: dict[str, dict[str, tuple[float, float | None]]] = {}
    for prompt, model, quality, out in zip(*(table[name] for name in columns), strict=True):
        by_prompt.setdefault(prompt, {})[model] = (quality, out)
    sums: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for model, (quality, _) in by_prompt.get(row["prompt_id"], {}).items():
            sums.setdefault((row["dataset"], model), []).append(quality)
    means = {key: sum(values) / len(values) for key, values in sums.items()}
    for n, row in enumerate(rows):
        known = by_prompt.get(row["prompt_id"], {})
        if known:
            better = [q - means[row["dataset"], model] for model, (q, _) in known.items()]
            ease[n] = sum(better) / len(better)
        for rank, name in enumerate(RANKS):
            out = known.get(row[f"{name}_model"], (0.0, None))[1]
            tokens[n, rank] = np.nan if out is None else out
    return ease, tokens
