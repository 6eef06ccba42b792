"""Finding listed words and phrases in a text, in one pass and bounded time. Pure.

Text and entries are cut the same way: lower case, runs of letters, digits and underscores; so
`real-time` is the phrase "real time", found in "Real-time" as well. An entry in a script written
without spaces (Chinese, Japanese, Thai) is found anywhere in the text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_WORD = re.compile(r"\w+")
_SPACED = bytes(c if chr(c).isalnum() or c == ord("_") else ord(" ") for c in range(256))
"""Maps what is in no ASCII word to a space."""
_OPENING_WORDS = 12
_UNSPACED_SCRIPTS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


class Reading(NamedTuple):
    """A text cut into words. `sample` is what was read of it, `whole` whether that is all."""

    sample: str
    whole: bool
    words: Sequence[str]
    vocabulary: frozenset[str]
    normal: str
    """The words joined, with a space at both ends: where phrases are looked up."""


class Hit(NamedTuple):
    """A listed entry that occurs; `opening` when it does among the first words."""

    entry: str
    opening: bool


def read(text: str, read_chars: int) -> Reading:
    """Cut `text` into words: all of it, or `read_chars` characters at each end."""
    whole = len(text) <= 2 * read_chars
    sample = text if whole else f"{text[:read_chars]}\n{text[-read_chars:]}"
    words = cut(sample)
    return Reading(sample, whole, words, frozenset(words), f" {' '.join(words)} ")


def cut(text: str) -> list[str]:
    """Return the words of a text in lower case; ASCII takes a third of the time."""
    if text.isascii():
        return text.lower().encode().translate(_SPACED).decode().split()
    return _WORD.findall(text.lower())


def normal_form(entry: str) -> str:
    """Return how an entry looks once cut: what it is matched by."""
    return " ".join(cut(entry))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """An index over groups of entries, built once.

    `ignored` are phrases that are taken out of the text first ("zip code" holds no "code").
    """

    groups: Mapping[str, Sequence[str]]
    ignored: Sequence[str] = ()
    _by_word: Mapping[str, tuple[tuple[str, str], ...]] = field(init=False, repr=False)
    _anywhere: tuple[tuple[str, str], ...] = field(init=False, repr=False)
    _ignored_by_word: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_word: dict[str, tuple[tuple[str, str], ...]] = {}
        anywhere: list[tuple[str, str]] = []
        for group, entries in self.groups.items():
            for entry in dict.fromkeys(map(normal_form, entries)):
                if _UNSPACED_SCRIPTS.search(entry):
                    anywhere.append((group, entry))
                else:
                    first = entry.partition(" ")[0]
                    by_word[first] = (*by_word.get(first, ()), (group, entry))
        ignored: dict[str, tuple[str, ...]] = {}
        for phrase in dict.fromkeys(map(normal_form, self.ignored)):
            first = phrase.partition(" ")[0]
            ignored[first] = (*ignored.get(first, ()), phrase)
        object.__setattr__(self, "_by_word", by_word)
        object.__setattr__(self, "_anywhere", tuple(anywhere))
        object.__setattr__(self, "_ignored_by_word", ignored)

    def find(self, reading: Reading) -> dict[str, list[Hit]]:
        """Return the entries that occur, by group, in alphabetical order of their first word."""
        vocabulary, normal, words = self._without_ignored(reading)
        opening = f" {' '.join(words[:_OPENING_WORDS])} "
        found: dict[str, list[Hit]] = {}
        for word in sorted(self._by_word.keys() & vocabulary):
            for group, entry in self._by_word[word]:
                if entry == word or f" {entry} " in normal:
                    hit = Hit(entry, f" {entry} " in opening)
                    found.setdefault(group, []).append(hit)
        if self._anywhere and not normal.isascii():
            for group, entry in self._anywhere:
                if entry in normal:
                    found.setdefault(group, []).append(Hit(entry, entry in opening))
        return found

    def _without_ignored(self, reading: Reading) -> tuple[Iterable[str], str, Sequence[str]]:
        normal = reading.normal
        for word in sorted(self._ignored_by_word.keys() & reading.vocabulary):
            for phrase in self._ignored_by_word[word]:
                normal = normal.replace(f" {phrase} ", " ")
        if normal is reading.normal or normal == reading.normal:
            return reading.vocabulary, normal, reading.words
        words = normal.split()
        return frozenset(words), normal, words
