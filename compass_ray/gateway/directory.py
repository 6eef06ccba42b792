"""This replica's view of the providers: which can be called, where, and with which key."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from compass_ray.providers.base import Target
from compass_ray.types.status import ProviderStatus

_log = logging.getLogger("compass.directory")

_RETRY_SECONDS = 0.5
_POLL_SECONDS = 30.0
_GRACE_SECONDS = 5.0


class ProviderAuthority(Protocol):
    """A Provider actor, directly or through a handle."""

    async def watch(self, version: int, wait: float) -> tuple[int, ProviderStatus]:
        """Return the status once its version is not `version`, or after `wait` seconds."""

    async def count(self, model: str, texts: tuple[str, ...]) -> int | None:
        """Return the tokens of `texts`; None for a model whose tokenizer is not known."""


class Addressed(Protocol):
    """A provider client whose target follows the status."""

    target: Target | None


class Directory:
    """The latest status of every provider, by name.

    What the Provider actor notices is known here one message later; while that actor is silent
    its last word stands.
    """

    def __init__(self, clients: Mapping[str, Addressed]) -> None:
        self._clients = clients
        self._statuses: dict[str, ProviderStatus] = {}
        self._unavailable = dict.fromkeys(clients, "provider not reported yet")
        self._starts: dict[str, Mapping[str, float]] = {}

    def unavailable(self) -> dict[str, str]:
        """Return provider to reason, for those that cannot be called at all."""
        return self._unavailable

    def keyless(self) -> frozenset[str]:
        """Return the providers that are out until an operator sets a variable."""
        return frozenset(one.name for one in self._statuses.values() if one.waits_for)

    def starts(self) -> Mapping[str, Mapping[str, float]]:
        """Return the seconds until a model answers, by provider and wire name, where it has to."""
        return self._starts

    def statuses(self) -> list[ProviderStatus]:
        """Return every provider's status, by name."""
        return [self._statuses[name] for name in sorted(self._statuses)]

    def hear(self, status: ProviderStatus) -> None:
        """Take over a provider actor's word."""
        self._statuses[status.name] = status
        unavailable = {key: why for key, why in self._unavailable.items() if key != status.name}
        if status.configured:
            self._clients[status.name].target = Target(
                status.base_url, status.key, status.api_version, status.keys
            )
        else:
            self._clients[status.name].target = None
            unavailable[status.name] = _why(status)
        self._unavailable = unavailable
        self._starts = {name: one.starts for name, one in self._statuses.items() if one.starts}

    async def follow(self, name: str, authority: ProviderAuthority) -> None:
        """Keep one provider's status up to date, until cancelled."""
        version = 0
        silent = False
        while True:
            try:
                async with asyncio.timeout(_POLL_SECONDS + _GRACE_SECONDS):
                    version, status = await authority.watch(version, _POLL_SECONDS)
            except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
                if not silent:
                    _log.warning("provider actor %s is silent: %s", name, type(error).__name__)
                silent = True
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                silent = False
                self.hear(status)


def _why(status: ProviderStatus) -> str:
    if status.waits_for:
        return f"provider not configured: set {' or '.join(status.waits_for)}"
    return status.detail or "provider not configured"
