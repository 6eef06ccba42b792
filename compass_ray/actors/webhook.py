"""One POST to a webhook: no redirect is followed, and of its answer only the head is read."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import httpx

_TIMEOUT = 10.0
"""Seconds for all of it."""
_DAY = 86_400.0


class Refusal(NamedTuple):
    """Why a webhook did not accept; `gone`: it never will. `retry_after` is in seconds."""

    reason: str
    retry_after: float | None = None
    gone: bool = False


async def post(url: str, body: bytes, headers: Mapping[str, str]) -> Refusal | None:
    """Post JSON; return why it was not accepted, None where it was."""
    headers = {"content-type": "application/json", **headers}
    try:
        async with (
            asyncio.timeout(_TIMEOUT),
            httpx.AsyncClient(timeout=_TIMEOUT) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            if answer.is_success:
                return None
            gone = answer.status_code == httpx.codes.GONE
            return Refusal(f"HTTP {answer.status_code}", _seconds(answer), gone)
    except (httpx.HTTPError, TimeoutError) as error:
        return Refusal(type(error).__name__)


def _seconds(answer: httpx.Response) -> float | None:
    told = answer.headers.get("retry-after", "")
    return min(float(told), _DAY) if told.isascii() and told.isdigit() else None
