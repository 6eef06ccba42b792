"""What callers may ask of batches, in OpenAI's words. JSON-ready."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

import orjson

from compass_ray.policy import batches as policy
from compass_ray.policy.idempotency import checked
from compass_ray.serving import files
from compass_ray.serving.admin import json_object
from compass_ray.serving.files import asked, kept_for, known_file
from compass_ray.serving.listing import listed, page_of
from compass_ray.serving.orphans import Orphans
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Batch, Page
from compass_ray.types.errors import IdempotencyKeyReused, InvalidRequest, NotFound
from compass_ray.types.settings import BatchSettings

_log = logging.getLogger("compass.batches")
_T = TypeVar("_T")

_BEAT = 2.0
"""Seconds between two looks whether batches go on after the actor's restart."""
_WINDOW = 86_400.0
_MOST_METADATA = 16
_FIELDS = frozenset(
    {"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"}
)


class Authority(files.Authority, Protocol):
    """The Batches actor, directly or through a handle."""

    async def tend(self) -> None:
        """Take up what is not over, and delete what is old."""

    async def create(self, batch: Batch) -> Batch:
        """Begin a batch, once per id; return the one that came first."""

    async def batch(self, name: str, account: str) -> Batch | None:
        """Return where an account's batch stands."""

    async def batches(self, account: str, page: Page) -> list[Batch]:
        """Return an account's batches."""

    async def cancel(self, name: str, account: str) -> Batch | None:
        """Begin no further request of a batch, where it is not over; return where it stands."""


class Batches:
    """Orders, and questions about them. `wall` is Unix time."""

    def __init__(
        self, authority: Authority, settings: BatchSettings, wall: Callable[[], float]
    ) -> None:
        self._authority = authority
        self._settings = settings
        self._wall = wall
        self._orphans = Orphans()

    async def tend(self) -> None:
        """See to it, until cancelled, that batches go on after the actor's restart."""
        while True:
            try:
                await self._authority.tend()
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                _log.warning("the batches are silent: %s", type(error).__name__)
            await asyncio.sleep(_BEAT)

    async def to_its_end(self, work: Coroutine[Any, Any, _T], account: str, key: str) -> _T:
        """Return what `work`, a batch's request with that key, returns; see `Orphans`."""
        name = key.partition("/")[0]

        async def is_wanted() -> bool:
            found = await self._authority.batch(name, account)
            return found is not None and found.status not in policy.OVER

        return await self._orphans.to_its_end(work, name, is_wanted)

    async def create(self, caller: Caller, told: Any, key: str | None) -> dict[str, object]:
        """Begin a batch; with an Idempotency-Key, once per key.

        Raises:
            InvalidRequest: names the field.
            IdempotencyKeyReused: the key stands for another batch.
            NotFound: there is no such input file.
            BatchesUnavailable
        """
        told = json_object(told)
        for field in told:
            if field not in _FIELDS:
                raise InvalidRequest(f"{field} is unknown", param=field)
        input_file, endpoint = told.get("input_file_id"), told.get("endpoint")
        if not isinstance(input_file, str):
            raise InvalidRequest("input_file_id must be the id of a file", param="input_file_id")
        if endpoint not in policy.ENDPOINTS:
            message = f"endpoint must be one of {', '.join(policy.ENDPOINTS)}"
            raise InvalidRequest(message, param="endpoint")
        if told.get("completion_window") != "24h":
            raise InvalidRequest("completion_window must be 24h", param="completion_window")
        metadata = _metadata(told.get("metadata"))
        kept = kept_for(
            told.get("output_expires_after"), "output_expires_after", self._settings.keep_seconds
        )
        file = await known_file(self._authority, caller, input_file, "input_file_id")
        if file.purpose != "batch":
            message = "input_file_id must be a file with the purpose batch"
            raise InvalidRequest(message, param="input_file_id")
        name = _new_id() if key is None else _id_of(caller.account, checked(key))
        now = self._wall()
        batch = Batch(name, caller, input_file, endpoint, now, now + _WINDOW, kept, metadata)
        begun = await asked(self._authority.create(batch))
        if (begun.input_file, begun.endpoint, begun.metadata) != (input_file, endpoint, metadata):
            raise IdempotencyKeyReused(
                "this Idempotency-Key stands for another batch",
                code="idempotency_key_reused",
                param="Idempotency-Key",
            )
        return policy.as_json(begun)

    async def batch(self, caller: Caller, name: str) -> dict[str, object]:
        """Return where a batch of the caller's account stands.

        Raises:
            NotFound, BatchesUnavailable
        """
        found = await asked(self._authority.batch(name, caller.account))
        return policy.as_json(_known(found, name))

    async def batches(self, caller: Caller, query: Mapping[str, str]) -> dict[str, object]:
        """Return a page of the account's batches, the latest first.

        Raises:
            InvalidRequest: names the parameter.
            BatchesUnavailable
        """
        page = page_of(query, default=20, most=100)
        more = page._replace(most=page.most + 1)
        found = await asked(self._authority.batches(caller.account, more))
        return listed([policy.as_json(one) for one in found], page.most)

    async def cancel(self, caller: Caller, name: str) -> dict[str, object]:
        """Begin no further request of a batch; one that is over stays as it is.

        Raises:
            NotFound, BatchesUnavailable
        """
        found = await asked(self._authority.cancel(name, caller.account))
        return policy.as_json(_known(found, name))


def _new_id() -> str:
    return f"batch_{random.getrandbits(96):024x}"


def _id_of(account: str, key: str) -> str:
    """Return the id that an account's Idempotency-Key stands for."""
    return f"batch_{hashlib.sha256(orjson.dumps([account, key])).hexdigest()[:24]}"


def _known(found: Batch | None, name: str) -> Batch:
    if found is None:
        raise NotFound(f"no batch {name!r}", code="unknown_batch")
    return found


def _metadata(asked: Any) -> dict[str, str]:
    told = json_object(asked or {})
    if len(told) > _MOST_METADATA or not all(
        isinstance(value, str) and len(value) <= 512 and len(name) <= 64  # noqa: PLR2004  # OpenAI's
        for name, value in told.items()
    ):
        raise InvalidRequest(
            "metadata must be at most 16 texts of 512 characters, with names of 64",
            param="metadata",
        )
    return dict(told)
