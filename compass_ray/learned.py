"""The files of learned models: numpy arrays and a JSON text in one .npz, never a pickle."""

import hashlib
import io
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy import ngrams
from compass_ray.policy.quality import OUTPUTS, SCORES, QualityModel
from compass_ray.policy.shape import NAMES
from compass_ray.policy.trees import Forest
from compass_ray.policy.verifier import FEATURES, Verifier
from compass_ray.types.errors import ConfigError

_FORMAT = 2
_NAME = "quality.npz"
_VERIFIER = "verifier.npz"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile)


def shipped_model() -> QualityModel | None:
    """Return the model that comes with the package; None where it was left out.

    Raises:
        ConfigError: the file is not one of this version.
    """
    file = resources.files("compass_ray") / "data" / _NAME
    return read(file.read_bytes(), _NAME) if file.is_file() else None


def read(data: bytes, file: str) -> QualityModel:
    """Read a model; `file` is named in errors.

    Raises:
        ConfigError: it is damaged, or was made for other features than this version has.
    """
    try:
        arrays, about = _unpacked(data)
        made_for = about["made_for"]
        model = QualityModel(
            weights=arrays["weights"],
            scales=arrays["scales"],
            offsets=arrays["offsets"],
            rarity=arrays["rarity"].astype(np.float32),
            fields=tuple(about["fields"]),
            field_heads=arrays["field_heads"],
            sharpness=float(about["sharpness"]),
            forest=_forest(arrays),
            means=arrays["means"].astype(np.float64),
            spreads=arrays["spreads"].astype(np.float64),
            basis=hashlib.sha256(data).hexdigest()[:16],
            provenance=about["provenance"],
        )
    except _DAMAGED as exc:
        raise ConfigError(f"not a quality model: {exc}", file=file) from exc
    if made_for != _made_for():
        raise ConfigError("a quality model for another version of Compass", file=file)
    return model


def write(model: QualityModel, path: Path) -> None:
    """Write a model, replacing what is there."""
    about = {
        "made_for": _made_for(),
        "fields": list(model.fields),
        "sharpness": model.sharpness,
        "provenance": dict(model.provenance),
    }
    np.savez_compressed(
        path,
        allow_pickle=False,
        weights=model.weights,
        scales=model.scales,
        offsets=model.offsets,
        rarity=model.rarity.astype(np.float16),
        field_heads=model.field_heads,
        **_arrays(model.forest),
        means=model.means.astype(np.float32),
        spreads=model.spreads.astype(np.float32),
        about=np.array(json.dumps(about)),
    )


def shipped_verifier() -> Verifier | None:
    """Return the verifier that comes with the package; None where it was left out.

    Raises:
        ConfigError: the file is not one of this version.
    """
    file = resources.files("compass_ray") / "data" / _VERIFIER
    return read_verifier(file.read_bytes(), _VERIFIER) if file.is_file() else None


def read_verifier(data: bytes, file: str) -> Verifier:
    """Read a verifier; `file` is named in errors.

    Raises:
        ConfigError: it is damaged, or was made for other features than this version has.
    """
    try:
        arrays, about = _unpacked(data)
        made_for = about["made_for"]
        verifier = Verifier(_forest(arrays), frozenset(about["tasks"]), about["provenance"])
    except _DAMAGED as exc:
        raise ConfigError(f"not a verifier: {exc}", file=file) from exc
    if made_for != list(FEATURES):
        raise ConfigError("a verifier for another version of Compass", file=file)
    return verifier


def write_verifier(verifier: Verifier, path: Path) -> None:
    """Write a verifier, replacing what is there."""
    about = {
        "made_for": FEATURES,
        "tasks": sorted(verifier.tasks),
        "provenance": dict(verifier.provenance),
    }
    np.savez_compressed(
        path, allow_pickle=False, **_arrays(verifier.forest), about=np.array(json.dumps(about))
    )


def _unpacked(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    return arrays, json.loads(str(arrays["about"]))


def _forest(arrays: Mapping[str, NDArray[Any]]) -> Forest:
    return Forest(
        features=arrays["features"].astype(np.int64),
        thresholds=arrays["thresholds"],
        leaves=arrays["leaves"].astype(np.float32),
        start=arrays["start"],
    )


def _arrays(forest: Forest) -> dict[str, NDArray[Any]]:
    return {
        "features": forest.features.astype(np.uint8),
        "thresholds": forest.thresholds,
        "leaves": forest.leaves.astype(np.float16),
        "start": forest.start,
    }


def _made_for() -> dict[str, object]:
    """Return what the numbers in a file refer to."""
    return {
        "format": _FORMAT,
        "buckets": 1 << ngrams.BITS,
        "run": ngrams.RUN,
        "shape": list(NAMES),
        "scores": list(SCORES),
        "outputs": list(OUTPUTS),
    }
