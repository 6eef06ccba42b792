"""Azure OpenAI's wire: OpenAI's, at a resource of one's own. The model is a deployment's name.

| `Target.api_version` | path of what OpenAI has at /v1/chat/completions                   |
|----------------------|-------------------------------------------------------------------|
| none                 | /openai/v1/chat/completions                                       |
| a date               | /openai/deployments/{deployment}/chat/completions?api-version=... |

A stream begins with a chunk that has no choices, and no id either, but what the filter found in
the prompt. Clients of OpenAI do not expect it: its findings go out with the next chunk instead.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from compass_ray.providers._json import dump
from compass_ray.providers.base import HttpCall, StreamState, Target
from compass_ray.providers.openai import OpenAIWire, is_flex
from compass_ray.providers.openai_embeddings import OpenAIEmbedder
from compass_ray.types.chat import ChatRequest, Chunk
from compass_ray.types.routing import Endpoint

_FINDINGS = "prompt_filter_results"


def _call(path: str, body: Mapping[str, Any], endpoint: Endpoint, target: Target) -> HttpCall:
    headers = {"content-type": "application/json"}
    if target.key is not None:
        headers["api-key"] = target.key
    return HttpCall(_url(path, endpoint, target), headers, dump(body), patient=is_flex(body))


def _url(path: str, endpoint: Endpoint, target: Target) -> str:
    if not target.api_version:
        return f"{target.base_url}/openai/v1/{path}"
    deployment = quote(endpoint.wire_model, safe="")
    version = quote(target.api_version, safe="")
    path = f"openai/deployments/{deployment}/{path}?api-version={version}"
    return f"{target.base_url}/{path}"


class AzureWire(OpenAIWire):
    """The same, except for the address, the key's header and the stream's first chunk."""

    embedder = OpenAIEmbedder(_call)

    def encode(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write `request`; every field of OpenAI's passes, and Azure refuses what it has not."""
        return _call("chat/completions", self._body(request, endpoint), endpoint, target)

    def decode_chunk(self, event: str, data: bytes, state: StreamState) -> list[Chunk]:
        """Read a `chat.completion.chunk`, or [DONE]."""
        return [_with_findings(chunk, state) for chunk in super().decode_chunk(event, data, state)]


def _with_findings(chunk: Chunk, state: StreamState) -> Chunk:
    """Hold back a chunk that has only findings, and put them into the one after it."""
    body: dict[str, Any] | None = chunk.body
    if body is None:
        return chunk
    if not body["choices"] and body.get("usage") is None:
        state.scratch[_FINDINGS] = body.get(_FINDINGS)
        return Chunk(None)
    if (findings := state.scratch.pop(_FINDINGS, None)) is not None:
        body[_FINDINGS] = findings
    return chunk
