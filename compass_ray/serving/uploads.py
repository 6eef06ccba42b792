"""A file that a caller uploads: read in pieces, and never more than its limit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from compass_ray.serving.http import ClientLeft
from compass_ray.types.errors import BodyTooLarge, InvalidRequest

_BESIDE = 64 * 1024
"""Bytes that a form may have beside its file."""
_MOST_FIELDS = 16


@dataclass(frozen=True, slots=True)
class Upload:
    """What came in a form: its one file, on disk where it is large, and its other fields."""

    file: UploadFile
    name: str
    size: int
    form: FormData

    def text(self, field: str) -> str | None:
        """Return a field.

        Raises:
            InvalidRequest: it is a file.
        """
        value = self.form.get(field)
        if isinstance(value, UploadFile):
            raise InvalidRequest(f"{field} must be a text", param=field)
        return value


@asynccontextmanager
async def uploaded(request: Request, most: int) -> AsyncIterator[Upload]:
    """Yield the form of a request whose file has at most so many bytes.

    Raises:
        InvalidRequest, BodyTooLarge, ClientLeft
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequest("the body must be multipart/form-data, with a file", param="file")
    bounded = Request(request.scope, _bounded(request.receive, most + _BESIDE))
    try:
        form = await bounded.form(max_files=1, max_fields=_MOST_FIELDS)
    except (MultiPartException, HTTPException) as error:
        told = error.message if isinstance(error, MultiPartException) else error.detail
        raise InvalidRequest(f"the form cannot be read: {told}", code="invalid_form") from None
    except ClientDisconnect:
        raise ClientLeft from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise InvalidRequest("file must be a file, with its name", param="file")
        size = file.size or 0
        if size > most:
            raise BodyTooLarge(f"the file exceeds {most} bytes", param="file")
        yield Upload(file, file.filename, size, form)
    finally:
        await form.close()


def _bounded(receive: Receive, most: int) -> Receive:
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise BodyTooLarge(f"the body exceeds {most} bytes", code="body_too_large")
        return message

    return bounded
