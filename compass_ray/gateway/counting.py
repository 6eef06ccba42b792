"""How many tokens a request's input is: as the provider counts it where it will, else estimated."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.gateway.pipeline import Gateway
from compass_ray.policy.countable import countable
from compass_ray.types.accounts import Caller
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import CompassError
from compass_ray.types.routing import Endpoint

_log = logging.getLogger("compass.counting")

_SECONDS = 10.0
"""Nobody waits longer for what an estimate can say."""


class Counter(Protocol):
    """A provider that may count; the deadline is on the event loop's clock."""

    async def count(self, request: ChatRequest, endpoint: Endpoint, deadline: float) -> int | None:
        """Return the input tokens, None where the provider counts for nobody.

        Raises:
            CompassError
        """


class Tokenizer(Protocol):
    """Counts the tokens of texts without asking a provider."""

    async def count(self, model: str, texts: tuple[str, ...]) -> int | None:
        """Return them; None for a model whose tokenizer is not known."""


@dataclass(frozen=True, slots=True)
class Count:
    """Input tokens of one request."""

    tokens: int
    estimated: bool


class TokenCounter:
    """Asks the provider of the endpoint that would be tried first; that costs nothing there.

    One that counts for nobody has a tokenizer beside it, which may know the model's.
    """

    def __init__(
        self,
        gateway: Gateway,
        counters: Mapping[str, Counter],
        tokenizers: Mapping[str, Tokenizer],
        limits: Limits,
    ) -> None:
        self._gateway = gateway
        self._counters = counters
        self._tokenizers = tokenizers
        self._limits = limits

    async def count(self, raw: bytes, caller: Caller) -> Count:
        """Count a chat-completions body.

        Raises:
            CompassError: as for a dry run; a provider that fails is not asked again.
        """
        request = parse(raw, self._limits)
        decision = self._gateway.decide(request, caller)
        endpoint = decision.endpoints[0]
        deadline = asyncio.get_running_loop().time() + _SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                tokens = await self._counters[endpoint.provider].count(request, endpoint, deadline)
                if tokens is None:
                    tokens = await self._tokenized(request, endpoint)
        except (CompassError, TimeoutError) as error:
            _log.info("%s does not count: %s", endpoint.id, type(error).__name__)
            tokens = None
        if tokens is None:
            return Count(decision.classification.input_tokens, estimated=True)
        return Count(tokens, estimated=False)

    async def _tokenized(self, request: ChatRequest, endpoint: Endpoint) -> int | None:
        asked = countable(request)
        if asked is None:
            return None
        try:
            tokens = await self._tokenizers[endpoint.provider].count(endpoint.model, asked.texts)
        except Exception as error:  # noqa: BLE001  # whatever ails an actor
            _log.warning("the tokenizer of %s: %s", endpoint.provider, type(error).__name__)
            return None
        return None if tokens is None else tokens + asked.beside
