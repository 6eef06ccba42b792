"""A YAML document in which every value knows its line: what a checked file is read from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import yaml

from compass_ray.types.errors import ConfigError

T = TypeVar("T")


def compose(text: str, file: str) -> "Located":
    """Parse `text`; values are built only when asked for, so aliases cannot blow up.

    Raises:
        ConfigError: not YAML, or empty; with file and line.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else None
        raise ConfigError(exc.problem or "not YAML", file=file, line=line) from None
    except (yaml.YAMLError, RecursionError) as exc:
        raise ConfigError(f"not YAML: {exc}", file=file) from None
    if node is None:
        raise ConfigError("the file is empty", file=file)
    return Located(node, file, "")


@dataclass(frozen=True, slots=True)
class Located:
    """A value with its place; every reader raises ConfigError naming file, line and key."""

    node: yaml.Node
    file: str
    key: str

    def error(self, message: str) -> ConfigError:
        """Return an error that points here."""
        line = self.node.start_mark.line + 1
        return ConfigError(message, file=self.file, line=line, key=self.key)

    def mapping(
        self, required: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> dict[str, "Located"]:
        """Read a mapping with these keys and no others; with any keys where none are named."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error("must be a mapping")
        found: dict[str, Located] = {}
        for key_node, value in self.node.value:
            place = Located(key_node, self.file, self.key)
            name = place.text()
            child = Located(value, self.file, f"{self.key}.{name}" if self.key else name)
            if name in found:
                raise place.error(f"{name!r} is given twice")
            found[name] = child
        required, known = tuple(required), {*required, *optional}
        if known:
            for name, child in found.items():
                if name not in known:
                    raise child.error(f"unknown key; known are {', '.join(sorted(known))}")
        for name in required:
            if name not in found:
                raise self.error(f"{name!r} is missing")
        return found

    def items(self) -> Iterator["Located"]:
        """Read a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error("must be a list")
        for n, item in enumerate(self.node.value):
            yield Located(item, self.file, f"{self.key}[{n}]")

    def text(self) -> str:
        """Read a scalar as it is written: `no`, `null` and `1` are words here."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error("must be a single value")
        return str(self.node.value)

    def number(self, low: float, high: float) -> float:
        """Read a number within [low, high]."""
        try:
            value = float(self.text())
        except ValueError:
            raise self.error(f"must be a number, not {self.text()!r}") from None
        if not low <= value <= high:  # false for NaN as well
            raise self.error(f"must be from {low:g} to {high:g}, not {value:g}")
        return value

    def integer(self, low: int, high: int) -> int:
        """Read a whole number within [low, high]."""
        value = self.number(low, high)
        if value != int(value):
            raise self.error(f"must be a whole number, not {value:g}")
        return int(value)

    def choice(self, choices: Mapping[str, T]) -> T:
        """Read one of the named values."""
        if self.text() not in choices:
            raise self.error(f"must be one of {', '.join(choices)}, not {self.text()!r}")
        return choices[self.text()]
