"""A text as hashed n-grams: words, pairs of words, runs of five bytes. Pure.

Every n-gram falls into one of 2**BITS buckets, so no vocabulary is kept and any language or code
is read alike. At most `READ_CHARS` characters are read at each end of a text: enough to tell what
is asked, and a bound on the time for any length.

A word's hash is a polynomial in its bytes modulo 2**64, got for all words at once: the sum of
byte * P**i over the word, divided by P**start. P is odd, so it has an inverse.
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Buckets: TypeAlias = NDArray[np.int64]
Keys: TypeAlias = NDArray[np.uint64]

BITS: Final = 16
RUN: Final = 5
READ_CHARS: Final = 2048
_MOST_BYTES = 2 * READ_CHARS * 4 + 3

_P = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)
_PAIR = np.uint64(0xC2B2AE3D27D4EB4F)
_SALT = np.uint64(0x3D59 << 40)
_SHIFT = np.uint64(64 - BITS)
_OF_RUN = np.uint64((1 << 8 * RUN) - 1)


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_POWERS = _powers(_P, _MOST_BYTES)
_INVERSES = _powers(pow(_P, -1, 1 << 64), _MOST_BYTES)
_ASCII = 128
_IN_WORD = bytes(chr(c).isalnum() or c == ord("_") or c >= _ASCII for c in range(256))
_SMALL = bytes(range(256)).lower()
_TERM = bytes(inside * (small + 1) % 256 for inside, small in zip(_IN_WORD, _SMALL, strict=True))
"""Maps a byte of a word to one more than its small letter; no UTF-8 holds a byte 255."""


def sample(text: str) -> str:
    """Return what is read of `text`: all of it, or `READ_CHARS` characters at each end."""
    if len(text) <= 2 * READ_CHARS:
        return text
    return f"{text[:READ_CHARS]}\n{text[-READ_CHARS:]}"


def encode(text: str) -> bytes:
    """Return a text's UTF-8 bytes."""
    return text.encode("utf-8", "surrogatepass")


def buckets(data: bytes) -> Buckets:
    """Return the buckets of all n-grams of a text, without capitals, each once, in order."""
    keys = np.concatenate((*_words(data), _runs(data)))
    keys *= _MIX
    keys >>= _SHIFT
    found = keys.astype(np.uint16)
    found.sort()
    first = np.empty(len(found), np.bool_)
    first[:1] = True
    np.not_equal(found[1:], found[:-1], out=first[1:])
    return found[first].astype(np.intp)


def _words(data: bytes) -> tuple[Keys, Keys]:
    """Return keys of the words, and of the pairs of neighbours."""
    inside = np.frombuffer(b"\0" + data.translate(_IN_WORD), np.bool_)
    starts = (inside[1:] > inside[:-1]).nonzero()[0]
    terms = np.frombuffer(data.translate(_TERM), np.uint8) * _POWERS[: len(data)]
    words = np.add.reduceat(terms, starts) * _INVERSES.take(starts)
    return words, words[:-1] * _PAIR + words[1:]


def _runs(data: bytes) -> Keys:
    """Return keys of all runs of `RUN` bytes: eight bytes at each place, all but `RUN` masked."""
    count = max(0, len(data) - RUN + 1)
    padded = data.translate(_SMALL) + bytes(8)
    return np.ndarray((count,), "<u8", padded, strides=(1,)) & _OF_RUN | _SALT
