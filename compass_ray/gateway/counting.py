"""How many tokens a request's input is: as the provider counts it where it will, else estimated."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.gateway.pipeline import Gateway
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


@dataclass(frozen=True, slots=True)
class Count:
    """Input tokens of one request."""

    tokens: int
    estimated: bool


class TokenCounter:
    """Asks the provider of the endpoint that would be tried first; that costs nothing there."""

    def __init__(self, gateway: Gateway, counters: Mapping[str, Counter], limits: Limits) -> None:
        self._gateway = gateway
        self._counters = counters
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
            tokens = await self._counters[endpoint.provider].count(request, endpoint, deadline)
        except CompassError as error:
            _log.info("%s does not count: %s", endpoint.id, type(error).__name__)
            tokens = None
        if tokens is None:
            return Count(decision.classification.input_tokens, estimated=True)
        return Count(tokens, estimated=False)
