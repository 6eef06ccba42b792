"""The file of the quality model: numpy arrays and a JSON text in one .npz, never a pickle."""

import hashlib
import io
import json
from importlib import resources
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from compass_ray.policy import ngrams
from compass_ray.policy.quality import OUTPUTS, SCORES, QualityModel
from compass_ray.policy.shape import NAMES
from compass_ray.policy.trees import Forest
from compass_ray.types.errors import ConfigError

_FORMAT = 2
_NAME = "quality.npz"


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
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        about = json.loads(str(arrays["about"]))
        made_for = about["made_for"]
        model = QualityModel(
            weights=arrays["weights"],
            scales=arrays["scales"],
            offsets=arrays["offsets"],
            rarity=arrays["rarity"].astype(np.float32),
            fields=tuple(about["fields"]),
            field_heads=arrays["field_heads"],
            sharpness=float(about["sharpness"]),
            forest=Forest(
                features=arrays["features"].astype(np.int64),
                thresholds=arrays["thresholds"],
                leaves=arrays["leaves"].astype(np.float32),
                start=arrays["start"],
            ),
            means=arrays["means"].astype(np.float64),
            spreads=arrays["spreads"].astype(np.float64),
            basis=hashlib.sha256(data).hexdigest()[:16],
            provenance=about["provenance"],
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as exc:
        raise ConfigError(f"not a quality model: {exc}", file=file) from exc
    if made_for != _made_for():
        raise ConfigError("a quality model for another version of Compass", file=file)
    return model


def write(model: QualityModel, path: Path) -> None:
    """Write a model, replacing what is there."""
    forest = model.forest
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
        features=forest.features.astype(np.uint8),
        thresholds=forest.thresholds,
        leaves=forest.leaves.astype(np.float16),
        start=forest.start,
        means=model.means.astype(np.float32),
        spreads=model.spreads.astype(np.float32),
        about=np.array(json.dumps(about)),
    )


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
