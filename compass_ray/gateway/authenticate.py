"""Who is calling: from an API key to an account. Pure."""

import hashlib
from collections.abc import Mapping

from compass_ray.types.accounts import Caller
from compass_ray.types.errors import Unauthenticated


class Callers:
    """The configured callers by the SHA-256 digest of their key.

    Keys are random and long, so a plain digest cannot be reversed; looking the digest up takes
    the same time whether or not a part of the key was right.
    """

    def __init__(self, by_digest: Mapping[bytes, Caller], anonymous: Caller) -> None:
        self._by_digest = by_digest
        self._anonymous = anonymous

    @property
    def open(self) -> bool:
        """Whether anybody may call, because no key is configured."""
        return not self._by_digest

    def authenticate(self, credential: str | None) -> Caller:
        """Return the caller whose key this is.

        Raises:
            Unauthenticated: keys are configured and this is none of them.
        """
        if not self._by_digest:
            return self._anonymous
        if credential is None:
            raise Unauthenticated(
                "no API key: send it as 'Authorization: Bearer <key>'", code="missing_api_key"
            )
        digest = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
        caller = self._by_digest.get(digest)
        if caller is None:
            raise Unauthenticated("unknown API key", code="invalid_api_key")
        return caller
