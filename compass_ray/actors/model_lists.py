"""The providers' model lists through their official SDKs: also the cheapest proof of health.

The only module that imports the SDKs, when they are needed: each costs a second to import.
Redirects are not followed, because the SDKs would carry the key to wherever they lead.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from compass_ray.providers.base import Target
from compass_ray.types.errors import ConfigError

if TYPE_CHECKING:
    import httpx2

_MAX_MODELS = 5_000
_NO_KEY = "none"
"""The SDKs want one, where a server needs none."""


class Listing(NamedTuple):
    """The wire names of the models, sorted.

    `starts`: seconds until a model answers, infinite if never; None where nothing is said of that,
    as models that run on demand have to.
    """

    names: tuple[str, ...]
    starts: Mapping[str, float] | None = None


class ModelList(Protocol):
    """One provider's list; raises the SDK's own errors, which `describe` makes printable."""

    async def fetch(self) -> Listing:
        """Return the models."""

    async def close(self) -> None:
        """Close the connections."""


def connect(kind: str, target: Target, timeout: float) -> ModelList:
    """Return the model list of a provider of this kind; blocks for the SDK's import.

    Raises:
        ConfigError: no SDK speaks this kind.
    """
    if kind not in _LISTS:
        raise ConfigError(f"provider kind {kind!r} is not one of {', '.join(sorted(_LISTS))}")
    import httpx2  # noqa: PLC0415  # see the module's docstring

    http = httpx2.AsyncClient(follow_redirects=False, timeout=timeout)
    return _LISTS[kind](target, target.key or _NO_KEY, http)


def describe(error: BaseException) -> str:
    """Return the error's class and HTTP status: messages of SDKs can hold pieces of the key."""
    status, name = _status(error), type(error).__name__
    return name if status is None else f"{name}, HTTP {status}"


def unlisted(error: BaseException) -> bool:
    """Return whether the error says that a provider answers but has no model list."""
    return _status(error) in (404, 405)


def refused(error: BaseException) -> bool:
    """Return whether the error says that a provider does not accept the key."""
    return _status(error) in (401, 403)


def _status(error: BaseException) -> int | None:
    names = ("status_code", "code", "status")
    found = next((told for name in names if (told := getattr(error, name, None))), None)
    return found if isinstance(found, int) else None


class _OpenAI:
    def __init__(self, target: Target, key: str, http: "httpx2.AsyncClient") -> None:
        import openai  # noqa: PLC0415

        self._client = openai.AsyncOpenAI(
            base_url=target.base_url, api_key=key, http_client=http, max_retries=0
        )

    async def fetch(self) -> Listing:
        page = await self._client.models.list()
        models = sorted(islice(page.data, _MAX_MODELS), key=lambda model: model.id)
        starts = {model.id: told for model in models if (told := _starts_in(model)) is not None}
        return Listing(tuple(model.id for model in models), starts or None)

    async def close(self) -> None:
        await self._client.close()


class _Azure(_OpenAI):
    def __init__(self, target: Target, key: str, http: "httpx2.AsyncClient") -> None:
        import openai  # noqa: PLC0415

        if not target.api_version:
            super().__init__(replace(target, base_url=f"{target.base_url}/openai/v1"), key, http)
            return
        self._client = openai.AsyncAzureOpenAI(
            azure_endpoint=target.base_url,
            api_version=target.api_version,
            api_key=key,
            http_client=http,
            max_retries=0,
        )


class _Anthropic:
    def __init__(self, target: Target, key: str, http: "httpx2.AsyncClient") -> None:
        import anthropic  # noqa: PLC0415

        self._client = anthropic.AsyncAnthropic(
            base_url=target.base_url, api_key=key, http_client=http, max_retries=0
        )

    async def fetch(self) -> Listing:
        page = await self._client.models.list(limit=1000)
        return Listing(tuple(sorted(model.id for model in page.data)))

    async def close(self) -> None:
        await self._client.close()


class _Google:
    def __init__(self, target: Target, key: str, http: "httpx2.AsyncClient") -> None:
        from google import genai  # noqa: PLC0415
        from google.genai.types import HttpOptions  # noqa: PLC0415

        self._http = http
        self._client = genai.Client(
            api_key=key,
            vertexai=False,
            http_options=HttpOptions(
                base_url=target.base_url, api_version="v1beta", httpx_async_client=http
            ),
        )

    async def fetch(self) -> Listing:
        page = await self._client.aio.models.list(config={"page_size": 1000})
        names = (model.name or "" for model in page.page)
        return Listing(tuple(sorted(name.removeprefix("models/") for name in names)))

    async def close(self) -> None:
        self._client.close()
        await self._http.aclose()


class _Replicate:
    """Lists Replicate's collection of language models: of all models, few can chat.

    The list is long and hardly changes: it is asked for once, and then only whether the key is
    still good.
    """

    def __init__(self, target: Target, key: str, http: "httpx2.AsyncClient") -> None:
        import httpx  # noqa: PLC0415
        from replicate.client import Client  # noqa: PLC0415

        self._http = http
        self._transport = httpx.AsyncHTTPTransport()
        self._client = Client(api_token=key, base_url=target.base_url, transport=self._transport)
        self._names: tuple[str, ...] = ()

    async def fetch(self) -> Listing:
        if self._names:
            await self._client.accounts.async_current()
        else:
            found = await self._client.collections.async_get("language-models")
            self._names = tuple(sorted(f"{model.owner}/{model.name}" for model in found))
        return Listing(self._names)

    async def close(self) -> None:
        await self._transport.aclose()
        await self._http.aclose()


def _starts_in(model: Any) -> float | None:
    """Return what a local model's card says beside OpenAI's fields; see docs/local-models.md."""
    extra = model.model_extra or {}
    if "starts_in_s" not in extra:
        return None
    told = extra["starts_in_s"]
    return float(told) if isinstance(told, int | float) and told >= 0 else inf


_LISTS: Mapping[str, Callable[[Target, str, "httpx2.AsyncClient"], ModelList]] = MappingProxyType(
    {
        "openai": _OpenAI,
        "azure": _Azure,
        "huggingface": _OpenAI,  # the client that Hugging Face documents for its router
        "replicate": _Replicate,
        "local": _OpenAI,
        "anthropic": _Anthropic,
        "google": _Google,
    }
)
