"""What callers may ask of files, in OpenAI's words. JSON-ready."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar, get_args

from compass_ray.serving.admin import json_object
from compass_ray.serving.listing import listed, page_of
from compass_ray.serving.uploads import Upload
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Page, Purpose, StoredFile
from compass_ray.types.errors import (
    BatchesUnavailable,
    FileInUse,
    InvalidRequest,
    NotFound,
    StorageFull,
)
from compass_ray.types.settings import BatchSettings

_T = TypeVar("_T")

_PIECE = 1024 * 1024
_LONGEST_NAME = 255
_SHORTEST_KEPT, _LONGEST_KEPT = 3_600, 30 * 86_400
_DIGITS = 7
"""Of the longest time."""
_MOST_LISTED = 10_000


class Authority(Protocol):
    """The Batches actor, directly or through a handle."""

    async def write(self, name: str, offset: int, piece: bytes) -> None:
        """Take a piece of a file that is being uploaded."""

    async def discard(self, name: str) -> None:
        """Forget a file whose upload has broken off."""

    async def keep(self, file: StoredFile) -> bool:
        """Keep a file that was uploaded; False where its account has no room for it."""

    async def file(self, name: str, account: str) -> StoredFile | None:
        """Return an account's file."""

    async def files(self, account: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        """Return an account's files."""

    async def read(self, name: str, account: str, offset: int, size: int) -> bytes | None:
        """Return a piece of an account's file, empty at its end; None where there is none."""

    async def delete(self, name: str, account: str) -> bool | None:
        """Delete an account's file; False where a batch reads it, None where there is none."""


class Files:
    """Files of callers. `wall` is Unix time."""

    def __init__(
        self, authority: Authority, settings: BatchSettings, wall: Callable[[], float]
    ) -> None:
        self._authority = authority
        self._settings = settings
        self._wall = wall

    @property
    def max_file_bytes(self) -> int:
        """How many bytes a file may have."""
        return self._settings.max_file_bytes

    async def upload(self, caller: Caller, upload: Upload) -> dict[str, object]:
        """Keep an uploaded file.

        Raises:
            InvalidRequest: names the field.
            StorageFull, BatchesUnavailable
        """
        purpose = upload.text("purpose")
        if purpose != "batch":
            raise InvalidRequest("purpose must be batch", param="purpose")
        if len(upload.name) > _LONGEST_NAME:
            raise InvalidRequest(
                f"file has a name of over {_LONGEST_NAME} characters", param="file"
            )
        told = {part: upload.text(f"expires_after[{part}]") for part in ("anchor", "seconds")}
        said = told if any(told.values()) else None
        kept = kept_for(said, "expires_after", self._settings.keep_seconds)
        name, now = f"file-{random.getrandbits(96):024x}", self._wall()
        file = StoredFile(name, caller.account, upload.name, "batch", upload.size, now, now + kept)
        try:
            await self._send(name, upload)
            has_room = await asked(self._authority.keep(file))
        except BaseException:
            await asked(self._authority.discard(name))
            raise
        if not has_room:
            most = self._settings.max_stored_bytes
            raise StorageFull(f"all files of an account may have {most} bytes", code="storage_full")
        return _file(file)

    async def file(self, caller: Caller, name: str) -> dict[str, object]:
        """Return a file of the caller's account.

        Raises:
            NotFound, BatchesUnavailable
        """
        return _file(await known_file(self._authority, caller, name))

    async def files(self, caller: Caller, query: Mapping[str, str]) -> dict[str, object]:
        """Return a page of the account's files; `query` as OpenAI's.

        Raises:
            InvalidRequest: names the parameter.
            BatchesUnavailable
        """
        said = query.get("purpose")
        purpose = next((one for one in get_args(Purpose) if one == said), None)
        if said is not None and purpose is None:
            names = ", ".join(get_args(Purpose))
            raise InvalidRequest(f"purpose must be one of {names}", param="purpose")
        page = page_of(query, default=_MOST_LISTED, most=_MOST_LISTED)
        more = page._replace(most=page.most + 1)
        found = await asked(self._authority.files(caller.account, purpose, more))
        return listed([_file(one) for one in found], page.most)

    async def content(self, caller: Caller, name: str) -> tuple[int, AsyncIterator[bytes]]:
        """Return a file's bytes: how many, and the pieces.

        Raises:
            NotFound, BatchesUnavailable
        """
        file = await known_file(self._authority, caller, name)
        return file.size, self._pieces(file)

    async def delete(self, caller: Caller, name: str) -> dict[str, object]:
        """Delete a file of the caller's account.

        Raises:
            FileInUse: a batch that is not over reads it.
            NotFound, BatchesUnavailable
        """
        deleted = await asked(self._authority.delete(name, caller.account))
        if deleted is None:
            raise _no_file(name)
        if not deleted:
            raise FileInUse(f"a batch that is not over reads {name}", code="file_in_use")
        return {"id": name, "object": "file", "deleted": True}

    async def _send(self, name: str, upload: Upload) -> None:
        offset = 0
        while (piece := await upload.file.read(_PIECE)) or not offset:
            await asked(self._authority.write(name, offset, piece))
            offset += len(piece)
            if not piece:
                return

    async def _pieces(self, file: StoredFile) -> AsyncIterator[bytes]:
        offset = 0
        while offset < file.size:
            piece = await self._authority.read(file.id, file.account, offset, _PIECE)
            if not piece:
                return  # deleted meanwhile: the length that was announced tells
            yield piece
            offset += len(piece)


async def known_file(
    authority: Authority, caller: Caller, name: str, param: str | None = None
) -> StoredFile:
    """Return a file of the caller's account; `param` is the field that names it.

    Raises:
        NotFound, BatchesUnavailable
    """
    found = await asked(authority.file(name, caller.account))
    if found is None:
        raise _no_file(name, param)
    return found


def kept_for(told: Any, param: str, usual: float) -> float:
    """Return for how many seconds a file is kept that is made now; `param` is what says so.

    Raises:
        InvalidRequest: names the field.
    """
    if told is None:
        return usual
    told = json_object(told)
    if told.get("anchor") != "created_at":
        raise InvalidRequest(f"{param}.anchor must be created_at", param=f"{param}.anchor")
    seconds = str(told.get("seconds"))
    is_number = seconds.isascii() and seconds.isdecimal() and len(seconds) <= _DIGITS
    if not is_number or not _SHORTEST_KEPT <= int(seconds) <= _LONGEST_KEPT:
        raise InvalidRequest(
            f"{param}.seconds must be from {_SHORTEST_KEPT} to {_LONGEST_KEPT}",
            param=f"{param}.seconds",
        )
    return float(seconds)


async def asked(question: Awaitable[_T]) -> _T:
    """Return what the Batches actor answers.

    Raises:
        BatchesUnavailable: it does not.
    """
    try:
        return await question
    except Exception as error:
        raise BatchesUnavailable("the batches are silent", retry_after=2.0) from error


def _no_file(name: str, param: str | None = None) -> NotFound:
    return NotFound(f"no file {name!r}", code="unknown_file", param=param)


def _file(file: StoredFile) -> dict[str, object]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": int(file.expires_at),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }
