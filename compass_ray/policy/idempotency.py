"""Idempotency keys: one run at a time, and its answer told again to whoever asks the same. Pure.

A key stands for one request of one account while a run of it is in progress or its answer is
kept; a run that ended without an answer frees it. A run holds its key on lease: whoever lives
extends it, and who died loses it to the next claim. Only the run that holds the key may put an
answer there, so nobody is told an answer that is not the one that everybody after will be told.

The refusals are those of the IETF's draft-ietf-httpapi-idempotency-key-header: 409 while a run is
in progress, 422 for another request under the same key.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass

from compass_ray.types.errors import InvalidRequest
from compass_ray.types.idempotency import (
    Answered,
    Claim,
    Ending,
    Granted,
    InProgress,
    KeptAnswer,
    Mismatch,
    Verdict,
)

LEASE = 10.0
"""Seconds for which a claim holds without being extended."""
BEAT = 2.0
"""Seconds between two extensions."""
MOST_BYTES = 4 * 1024 * 1024
"""Largest answer that is kept, deflated."""

_LONGEST_KEY = 255
_SOON = 1.0
_MISSED_BEATS = 2

Name = tuple[str, str]
"""Account and key."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How long answers are kept, and how many bytes of disk they may take in all."""

    seconds: float = 24 * 3600.0
    bytes: int = 1024**3


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one key: a run in progress, or the answer it gave.

    `at` is Unix seconds: when it was claimed, or answered.
    """

    claim: Claim
    at: float
    answer: KeptAnswer | None = None


def checked(key: str) -> str:
    """Return `key` without the blanks around it, where it can be one.

    Raises:
        InvalidRequest: it is empty, too long, or not of printable ASCII.
    """
    key = key.strip()
    if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            f"Idempotency-Key must be 1 to {_LONGEST_KEY} printable ASCII characters",
            code="invalid_idempotency_key",
            param="Idempotency-Key",
        )
    return key


def fingerprint(route: str, body: bytes) -> bytes:
    """Return the SHA-256 of what is asked: the same only for the same bytes on the same route."""
    digest = hashlib.sha256(route.encode())
    digest.update(b"\n")
    digest.update(body)
    return digest.digest()


def apply(
    entries: Mapping[Name, Entry],
    leases: MutableMapping[str, float],
    messages: Iterable[Claim | Ending],
    *,
    now: float,
    unix: float,
    keep: Keep,
) -> tuple[dict[Name, Entry | None], list[Verdict | bool]]:
    """Decide a group of messages, in order.

    Args:
        entries: all that is known of the names in the messages.
        leases: until when each run in progress holds its key, by claim id; changed here.
        messages: claims, and ends of runs.
        now: seconds that never step back, as in `leases`.
        unix: Unix seconds.
        keep: for how long an answer is told again.

    Returns:
        The entries that changed, None for those that are gone, and a reply to each message: the
        verdict on a claim, or whether an end counts.
    """
    known: dict[Name, Entry | None] = dict(entries)
    changes: dict[Name, Entry | None] = {}
    replies: list[Verdict | bool] = []
    for message in messages:
        claim = message.claim if isinstance(message, Ending) else message
        before = known.get(claim.name)
        reply: Verdict | bool
        if isinstance(message, Ending):
            reply, after = end(before, message, unix)
            leases.pop(claim.id, None)
        else:
            left = 0.0 if before is None else leases.get(before.claim.id, now) - now
            reply, after = begin(before, claim, left, unix, keep)
            if isinstance(reply, Granted):
                if before is not None:
                    leases.pop(before.claim.id, None)
                leases[claim.id] = now + LEASE
        if after != before:
            known[claim.name] = changes[claim.name] = after
        replies.append(reply)
    return changes, replies


def begin(
    entry: Entry | None, claim: Claim, lease_left: float, unix: float, keep: Keep
) -> tuple[Verdict, Entry | None]:
    """Judge a claim; `lease_left` is for how many seconds the run of `entry` still holds the key.

    Safe to repeat: who holds the key is granted it again.
    """
    granted = Granted(), Entry(claim, unix)
    if entry is None or is_over(entry, lease_left, unix, keep):
        return granted
    if entry.claim.fingerprint != claim.fingerprint:
        return Mismatch(), entry
    if entry.answer is not None:
        return Answered(entry.claim.id, entry.answer), entry
    if entry.claim.id == claim.id:
        return granted
    # A run that lives has just been extended, and may end at any moment.
    lives = lease_left > LEASE - _MISSED_BEATS * BEAT
    return InProgress(entry.claim.id, _SOON if lives else math.ceil(lease_left)), entry


def end(entry: Entry | None, ending: Ending, unix: float) -> tuple[bool, Entry | None]:
    """Return whether the end counts, and what is known then; safe to repeat.

    It does not where another run has taken the key over. Where that one freed it again, the
    first answer is still the only one.
    """
    if entry is not None and entry.claim.id != ending.claim.id:
        return False, entry
    if entry is not None and entry.answer is not None:
        return True, entry
    if ending.answer is None:
        return True, None
    return True, Entry(ending.claim, unix, ending.answer)


def is_over(entry: Entry, lease_left: float, unix: float, keep: Keep) -> bool:
    """Return whether the key is free again: its answer is old, or its run is dead."""
    if entry.answer is None:
        return lease_left <= 0
    return unix - entry.at >= keep.seconds
