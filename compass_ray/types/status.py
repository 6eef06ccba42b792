"""What the authorities tell every replica: snapshots, replaced whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CircuitPhase = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key, and the environment variable that holds it; `repr` shows the variable alone."""

    variable: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """What a Provider actor knows. `healthy` is None before the first probe.

    `waits_for` names the environment variables of which one would configure the provider.
    `models` are wire names as the provider lists them; empty where it cannot list.
    """

    name: str
    kind: str
    configured: bool
    base_url: str
    waits_for: tuple[str, ...] = ()
    key: str | None = field(default=None, repr=False)
    keys: tuple[ProviderKey, ...] = ()
    """All keys of a provider that may have several, `key` first."""
    healthy: bool | None = None
    detail: str = ""
    models: tuple[str, ...] = ()
    checked_at: float | None = None
    """Unix seconds."""
    api_version: str = ""
    """A dated version of Azure's API; empty for the undated v1 and for all others."""
    starts: Mapping[str, float] = field(default_factory=dict)
    """Of models that do not answer yet, by wire name: seconds until they do; infinite if never."""


@dataclass(frozen=True, slots=True)
class CircuitStatus:
    """One endpoint's circuit as the Breaker actor sees it. `retry_at` is Unix seconds."""

    phase: CircuitPhase = "closed"
    epoch: int = 0
    """Grows with every change of phase; an older word never replaces a newer one."""
    retry_at: float | None = None
    reason: str = ""
