"""The API keys of callers: how one is made, and what of it is kept."""

import hashlib
import secrets

PREFIX = "sha256:"

_KEY_BYTES = 32


def new_key() -> tuple[str, str]:
    """Return a new API key, to be shown once, and the hash to be configured.

    The key is `ck-` and 43 URL-safe characters: 256 random bits, so a plain digest is enough.
    """
    plain = f"ck-{secrets.token_urlsafe(_KEY_BYTES)}"
    return plain, hash_key(plain)


def hash_key(plain: str) -> str:
    """Return the hash of an API key as `keys` in compass.yaml holds it."""
    return PREFIX + hashlib.sha256(plain.encode("utf-8", "surrogateescape")).hexdigest()
