"""From YAML text or a plain mapping to a tree of settings; bounded, and strict about keys. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

from compass_ray.config.tree import KeyPath, Node, Place, Problem, Source, shown
from compass_ray.types.errors import ConfigError

_MAX_DEPTH = 32
_MAX_VALUES = 100_000
_TAGS = "tag:yaml.org,2002:"


class Reader:
    """Reads one source and gathers what is wrong with it in `problems`.

    Aliases are expanded, so the number of values is bounded, not the size of the text.
    """

    def __init__(self, source: Source) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._values = 0
        self._scalars = yaml.SafeLoader("")

    def text(self, text: str, *, lines: bool = True) -> Node:
        """Read YAML; nothing at all is None. `lines` says whether its lines mean something.

        Raises:
            ConfigError: not YAML, too deep or too much of it.
        """
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as exc:
            mark = exc.problem_mark
            line = mark.line + 1 if mark and lines else None
            problem = "" if exc.problem is None else f": {exc.problem}"
            raise ConfigError(f"not YAML{problem}", file=self._source.name, line=line) from None
        except (yaml.YAMLError, RecursionError) as exc:
            reason = "too deep" if isinstance(exc, RecursionError) else "unprintable characters"
            raise ConfigError(f"not YAML: {reason}", file=self._source.name) from None
        if root is None:
            return Node(None, Place(self._source, 1 if lines else None))
        return self._yaml(root, (), 1 if lines else None)

    def plain(self, value: Any, path: KeyPath = ()) -> Node:
        """Read mappings, sequences and scalars as another program hands them over.

        Raises:
            ConfigError: too deep or too much of it.
        """
        place = Place(self._source)
        self._count(place, path)
        if isinstance(value, Mapping):
            found = {}
            for key, child in value.items():
                if isinstance(key, str):
                    found[key] = self.plain(child, (*path, key))
                else:
                    self._complain(place, path, f"the key {_brief(key)} must be text: quote it")
            return Node(found, place)
        if isinstance(value, list | tuple):
            return Node([self.plain(item, (*path, n)) for n, item in enumerate(value)], place)
        if value is not None and not isinstance(value, str | int | float | date):
            self._complain(place, path, f"of type {type(value).__name__} is no setting")
            return Node(None, place)
        return Node(value, place)

    def _yaml(self, node: yaml.Node, path: KeyPath, line: int | None) -> Node:
        place = Place(self._source, line)
        self._count(place, path)
        if isinstance(node, yaml.ScalarNode):
            return Node(self._scalar(node, place, path), place)
        if node.tag not in {f"{_TAGS}map", f"{_TAGS}seq"}:
            self._complain(place, path, f"the tag {shown(node.tag)!r} is not for settings")
        if isinstance(node, yaml.SequenceNode):
            items = [
                self._yaml(item, (*path, n), self._line(item, line))
                for n, item in enumerate(node.value)
            ]
            return Node(items, place)
        return Node(self._mapping(node, path, line), place)

    def _mapping(self, node: yaml.Node, path: KeyPath, line: int | None) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key_node, value in node.value:
            at = self._line(key_node, line)
            place = Place(self._source, at)
            if key_node.tag == f"{_TAGS}merge":
                self._complain(place, path, "merge keys (<<) are not read; mappings merge anyway")
            elif key_node.tag != f"{_TAGS}str":
                text = key_node.value if isinstance(key_node, yaml.ScalarNode) else "of a mapping"
                self._complain(place, path, f"the key {shown(text)!r} must be text: quote it")
            elif key_node.value in found:
                self._complain(place, (*path, key_node.value), "is given twice")
            else:
                found[key_node.value] = self._yaml(value, (*path, key_node.value), at)
        return found

    def _scalar(self, node: yaml.ScalarNode, place: Place, path: KeyPath) -> Any:
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError, IndexError, OverflowError):
            self._complain(place, path, "is not a value that YAML knows")
            return None
        if isinstance(value, bytes):
            self._complain(place, path, "must not be binary")
            return None
        return value

    def _line(self, node: yaml.Node, inherited: int | None) -> int | None:
        return None if inherited is None else node.start_mark.line + 1

    def _count(self, place: Place, path: KeyPath) -> None:
        self._values += 1
        if self._values > _MAX_VALUES or len(path) > _MAX_DEPTH:
            what = "too many values" if self._values > _MAX_VALUES else "nested too deeply"
            raise Problem(place, path, what).error()

    def _complain(self, place: Place, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(place, path, message))


def _brief(key: object) -> str:
    is_short = key is None or isinstance(key, bool | float)
    return repr(key) if is_short else f"of type {type(key).__name__}"
