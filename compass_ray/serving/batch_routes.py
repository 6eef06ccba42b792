"""The routes of files and batches."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from compass_ray.serving.batches import Batches
from compass_ray.serving.files import Files
from compass_ray.serving.http import idempotency_key, load, read_body
from compass_ray.serving.routes import ApiRoute, json_response
from compass_ray.serving.uploads import uploaded
from compass_ray.types.accounts import Caller

Answer = Callable[[Request, Caller], Awaitable[Response]]


class Replica(Protocol):
    """What the routes need of the replica that serves them."""

    files: Files
    batches: Batches
    max_body_bytes: int


class BatchRoutes:
    """Answers for one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def routes(
        self, guarded: Callable[[Answer], Callable[[Request], Awaitable[Response]]]
    ) -> list[Route]:
        """Return the routes; `guarded` asks for a caller's key, and gives errors their shape."""
        return [
            ApiRoute("/v1/files", guarded(self._files), methods=["GET", "POST"]),
            ApiRoute("/v1/files/{file}", guarded(self._file), methods=["GET", "DELETE"]),
            ApiRoute("/v1/files/{file}/content", guarded(self._content)),
            ApiRoute("/v1/batches", guarded(self._batches), methods=["GET", "POST"]),
            ApiRoute("/v1/batches/{batch}", guarded(self._batch)),
            ApiRoute("/v1/batches/{batch}/cancel", guarded(self._cancel), methods=["POST"]),
        ]

    async def _files(self, request: Request, caller: Caller) -> Response:
        files = self._replica.files
        if request.method == "POST":
            async with uploaded(request, files.max_file_bytes) as upload:
                return json_response(await files.upload(caller, upload))
        return json_response(await files.files(caller, request.query_params))

    async def _file(self, request: Request, caller: Caller) -> Response:
        name = request.path_params["file"]
        if request.method == "DELETE":
            return json_response(await self._replica.files.delete(caller, name))
        return json_response(await self._replica.files.file(caller, name))

    async def _content(self, request: Request, caller: Caller) -> Response:
        size, pieces = await self._replica.files.content(caller, request.path_params["file"])
        headers = {"content-length": str(size)}
        return StreamingResponse(pieces, media_type="application/octet-stream", headers=headers)

    async def _batches(self, request: Request, caller: Caller) -> Response:
        batches = self._replica.batches
        if request.method == "POST":
            told = load(
                await read_body(request.scope, request.receive, self._replica.max_body_bytes)
            )
            return json_response(await batches.create(caller, told, idempotency_key(request.scope)))
        return json_response(await batches.batches(caller, request.query_params))

    async def _batch(self, request: Request, caller: Caller) -> Response:
        return json_response(
            await self._replica.batches.batch(caller, request.path_params["batch"])
        )

    async def _cancel(self, request: Request, caller: Caller) -> Response:
        name = request.path_params["batch"]
        return json_response(await self._replica.batches.cancel(caller, name))
