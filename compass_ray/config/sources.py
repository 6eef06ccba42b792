"""Where settings come from, and which of them wins.

    shipped defaults < shipped catalogue < compass.yaml < serve_config.yaml's args < environment

Mappings merge deeply, lists and single values are replaced.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache, reduce
from importlib import resources
from pathlib import Path
from typing import Any

from compass_ray.config.read import Reader
from compass_ray.config.schema import Config
from compass_ray.config.tree import Node, Place, Problem, Source, merge, report
from compass_ray.types.errors import ConfigError

FILE = "compass.yaml"
FILE_VARIABLE = "COMPASS_CONFIG"
INLINE = "serve_config.yaml args"

_PREFIX = "COMPASS_"
_SHIPPED = ("defaults.yaml", "catalogue.yaml")
_MAX_FILE_BYTES = 4 * 1024 * 1024
_SECTIONS = frozenset(Config.model_fields)
_SERVICE_LINK = re.compile(r"_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)$")
"""Variables that Kubernetes sets for every service, whatever its name."""


def gather(inline: Mapping[str, Any] | None, env: Mapping[str, str], cwd: Path) -> Node:
    """Return all settings in one tree.

    Raises:
        ConfigError: a source cannot be read; names all mistakes of that kind.
    """
    layers = list(_shipped())
    problems: list[Problem] = []
    file = _file(env, cwd)
    if file is not None:
        source = Source(len(layers), str(file), (cwd / file).parent)
        layers.append(_read_file(source, cwd / file, problems))
    if inline is not None:
        reader = Reader(Source(len(layers), INLINE, cwd))
        layers.append(reader.plain(inline))
        problems += reader.problems
    for rank, (name, path) in enumerate(_variables(env), start=len(layers)):
        source = Source(rank, f"environment variable {name}", cwd)
        layers.append(_read_variable(source, path, env[name], problems))
    problems += [
        Problem(layer.place, (), "must be a mapping")
        for layer in layers
        if not isinstance(layer.value, dict)
    ]
    if problems:
        raise report(problems)
    return reduce(merge, (_without_empty_sections(layer) for layer in layers))


@cache
def _shipped() -> tuple[Node, ...]:
    """Return what comes with the package; it never changes, so it is read once a process."""
    folder = resources.files("compass_ray") / "data"
    layers = []
    for rank, name in enumerate(_SHIPPED):
        reader = Reader(Source(rank, f"compass_ray/data/{name}", Path(), shipped=True))
        layers.append(reader.text((folder / name).read_text(encoding="utf-8")))
        if reader.problems:
            raise report(reader.problems)
    return tuple(layers)


def _file(env: Mapping[str, str], cwd: Path) -> Path | None:
    named = env.get(FILE_VARIABLE, "").strip()
    if named:
        return Path(named)
    return Path(FILE) if (cwd / FILE).exists() else None


def _read_file(source: Source, file: Path, problems: list[Problem]) -> Node:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "cannot be read"
        raise ConfigError(reason.lower(), file=source.name) from exc
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"is longer than {_MAX_FILE_BYTES:,} bytes", file=source.name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ConfigError("is not UTF-8", file=source.name, line=line) from None
    reader = Reader(source)
    node = reader.text(text)
    problems += reader.problems
    return Node({}, node.place) if node.value is None else node


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the variables that are settings, the shorter path first.

    COMPASS_SERVER__MAX_N is server.max_n. Others may begin with COMPASS_ as well; a variable is
    meant for us when it has two underscores in a row or begins with the name of a section.
    """
    for name in sorted(env):
        if not name.startswith(_PREFIX) or name == FILE_VARIABLE or _SERVICE_LINK.search(name):
            continue
        rest = name.removeprefix(_PREFIX).lower()
        if "__" in rest or any(rest == one or rest.startswith(f"{one}_") for one in _SECTIONS):
            yield name, tuple(rest.split("__"))


def _read_variable(
    source: Source, path: tuple[str, ...], text: str, problems: list[Problem]
) -> Node:
    place = Place(source)
    if len(path) == 1 and path[0] not in _SECTIONS:
        problems.append(Problem(place, (), "levels are parted by two underscores"))
    reader = Reader(source)
    node = reader.text(text, lines=False)
    problems += [Problem(one.place, (*path, *one.path), one.message) for one in reader.problems]
    for step in reversed(path):
        node = Node({step: node}, place)
    return node


def _without_empty_sections(layer: Node) -> Node:
    """Drop sections of which only the heading is left, because all in them is commented out."""
    kept = {key: child for key, child in layer.value.items() if child.value is not None}
    return Node(kept, layer.place)
