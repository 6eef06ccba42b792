"""Where webhooks may go, how they are signed, and when one is sent again. Pure.

The headers and the signature are those of Standard Webhooks (standardwebhooks.com), so that its
libraries verify them: HMAC-SHA256 over id, time and body.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import urlsplit

import orjson

from compass_ray.policy.standing import as_json
from compass_ray.types.workflows import Summary

_PREFIX = "whsec_"
_LEAST_KEY, _LONGEST_KEY = 24, 64
"""Bytes of a key, as the specification has it."""
_LONGEST_URL = 2_048
_URL = re.compile(
    r"https?://[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._~!$&'()*+,;=:@%/-]*)?(\?[a-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII | re.IGNORECASE,
)
"""So plain that no two parsers read it differently."""
_UNPLAIN = re.compile(r"(^|/)\.{1,2}(/|$)|%(2e|2f|5c|25)", re.IGNORECASE)
"""Of a path: what a server may take for another one."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Redelivery:
    """Waits of `first` seconds, doubling up to `longest`; None of `attempts` or `age` bounds it."""

    first: float
    longest: float
    attempts: int | None = None
    age: float | None = None
    """Seconds since it was first due."""


def again_after(
    policy: Redelivery, attempts: int, age: float, u: float, said: float | None = None
) -> float | None:
    """Return the seconds until the next attempt after so many; None: it is given up.

    `u`, uniform in [0, 1), takes up to half of a wait; `said` is the receiver's `retry-after`.
    """
    if policy.attempts is not None and attempts >= policy.attempts:
        return None
    doubled = policy.first * 2.0 ** min(attempts - 1, 64)
    wait = min(policy.longest, doubled) * (1 - u / 2)
    if said is not None:
        wait = max(wait, min(said, policy.longest))
    return None if policy.age is not None and age + wait > policy.age else wait


def flaw_of_url(url: object, allowed: Iterable[str]) -> str | None:
    """Return why no webhook may go there; None: it may. `allowed` are beginnings of URLs."""
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not _URL.fullmatch(url):
        return "must be a plain http:// or https:// URL"
    try:
        at, path = _address(url)
    except ValueError:
        return "must be a plain http:// or https:// URL"
    if _UNPLAIN.search(path):
        return "must be a plain http:// or https:// URL"
    for beginning in allowed:
        place, above = _address(beginning)
        if at == place and (path + "/").startswith(above.rstrip("/") + "/"):
            return None
    return "is not among those that the configuration allows: workflows.webhooks.allow"


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for: base64, after `whsec_` where it begins with it.

    Raises:
        ValueError: it is none; the message does not repeat it.
    """
    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not _LEAST_KEY <= len(key) <= _LONGEST_KEY:
        raise ValueError(
            f"is no webhook secret: {_PREFIX} and base64 of {_LEAST_KEY} to {_LONGEST_KEY} bytes"
        )
    return key


def signed(key: bytes, message: str, unix: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message that is sent at that time."""
    told = b"%b.%d.%b" % (message.encode(), unix, body)
    signature = b64encode(hmac.digest(key, told, sha256)).decode()
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(unix),
        "webhook-signature": f"v1,{signature}",
    }


def end_of_run(one: Summary) -> bytes:
    """Return what is sent of a run that is over: the same bytes each time."""
    at = 0.0 if one.end is None else one.end.at
    event = {
        "type": f"{one.kind}.{one.status}",
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
        "data": as_json(one._replace(webhook=None)),
    }
    return orjson.dumps(event)


def _address(url: str) -> tuple[tuple[str, str | None, int | None], str]:
    """Return scheme, host and port, and the path.

    Raises:
        ValueError: it has no such port.
    """
    parts = urlsplit(url)
    return (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)), parts.path
