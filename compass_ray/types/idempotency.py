"""What a replica and the authority for idempotency keys say to each other."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Claim:
    """One run of one request under a caller's key.

    `account` and `key` together name what is claimed: another account's equal key is another.
    `fingerprint` is the SHA-256 of what is asked, `id` the request id of the run: unique for ever.
    """

    account: str
    key: str
    fingerprint: bytes
    id: str

    @property
    def name(self) -> tuple[str, str]:
        """What is claimed."""
        return self.account, self.key


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A whole answer and who gave it, to be told again.

    `content` is deflated: the JSON body, or of a stream the JSON of each event on a line of its
    own. None says that it was too large to be kept.
    """

    stream: bool
    endpoint: str
    """The endpoint's id."""
    provider: str
    model: str
    tier: int
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a run: with an answer that is to be kept, or without, which frees the key."""

    claim: Claim
    answer: KeptAnswer | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """The key is the claim's: run the request."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An earlier run, of that request id, has answered the same request."""

    request_id: str
    answer: KeptAnswer


@dataclass(frozen=True, slots=True)
class InProgress:
    """An earlier run, of that request id, has not ended; ask again after so many seconds."""

    request_id: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key stands for another request."""


Verdict = Granted | Answered | InProgress | Mismatch
