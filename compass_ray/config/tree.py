"""A tree of settings in which every value knows where it was written. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from compass_ray.types.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the root."""

_LOOKS_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(sk|ck|pk|hf|r8|gsk|xai|ghp|AIza)[-_]?[A-Za-z0-9_-]{16,}"
)
_LONGEST_SHOWN = 80
_MOST_REPORTED = 20


@dataclass(frozen=True, slots=True)
class Source:
    """One origin of settings; later ones win. Relative paths in it start at `folder`."""

    rank: int
    name: str
    folder: Path
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written; `line` is 1-based, None where the source has no lines."""

    source: Source
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: a scalar, or a dict or list of nodes."""

    value: Any
    place: Place

    def at(self, path: KeyPath) -> "Node | None":
        """Return the node at `path`, or None."""
        node: Node | None = self
        for step in path:
            node = node.child(step) if node else None
        return node

    def nearest(self, path: KeyPath) -> "Node":
        """Return the deepest node on the way to `path`."""
        node = self
        for step in path:
            child = node.child(step)
            if child is None:
                break
            node = child
        return node

    def child(self, step: str | int) -> "Node | None":
        """Return what lies under a key or an index, or None."""
        if isinstance(self.value, dict):
            found: Node | None = self.value.get(step)
            return found
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            item: Node = self.value[step]
            return item
        return None

    def entries(self, *path: str | int) -> Mapping[str, "Node"]:
        """Return the mapping at `path`; an empty one where there is none."""
        node = self.at(path)
        return node.value if node and isinstance(node.value, dict) else {}

    def items(self, *path: str | int) -> list["Node"]:
        """Return the list at `path`; an empty one where there is none."""
        node = self.at(path)
        return node.value if node and isinstance(node.value, list) else []

    def text(self, *path: str | int) -> str | None:
        """Return the text at `path`; None where there is none."""
        node = self.at(path)
        return node.value if node and isinstance(node.value, str) else None

    def plain(self) -> Any:
        """Return the value without its places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the value at `path`, or with its absence."""

    place: Place
    path: KeyPath
    message: str

    def error(self) -> ConfigError:
        """Return it as an error."""
        place = self.place
        return ConfigError(
            self.message, file=place.source.name, line=place.line, key=dotted(self.path)
        )


def merge(earlier: Node, later: Node) -> Node:
    """Return both in one: mappings merge deeply, anything else is replaced."""
    if not (isinstance(earlier.value, dict) and isinstance(later.value, dict)):
        return later
    merged = dict(earlier.value)
    for key, child in later.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, later.place)


def report(problems: Iterable[Problem]) -> ConfigError:
    """Return one error for all: it points at the first and its message lists the rest."""
    ranked = sorted(problems, key=lambda one: (one.place.source.rank, one.place.line or 0))
    first, *rest = list(dict.fromkeys(ranked))
    lines = [first.message, *(str(problem.error()) for problem in rest[: _MOST_REPORTED - 1])]
    if len(rest) >= _MOST_REPORTED:
        lines.append(f"and {len(rest) - _MOST_REPORTED + 1} more")
    place = first.place
    return ConfigError(
        "\n".join(lines), file=place.source.name, line=place.line, key=dotted(first.path)
    )


def dotted(path: KeyPath) -> str:
    """Write a path as people do: `models.gpt-4o.endpoints[0].price`."""
    written = "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path)
    return written.removeprefix(".")


def shown(name: str) -> str:
    """Return a foreign name as it may appear in a log: no secret, no control characters."""
    if _LOOKS_SECRET.search(name):
        return "***"
    printable = name if name.isprintable() else ascii(name)[1:-1]
    return printable if len(printable) <= _LONGEST_SHOWN else f"{printable[:_LONGEST_SHOWN]}..."


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what to say after `name` was not found among `known`; may be empty."""
    names = list(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {shown(close[0])!r}?"
    few = 12
    listed = ", ".join(shown(one) for one in sorted(names))
    return f"; known are {listed}" if 0 < len(names) <= few else ""
