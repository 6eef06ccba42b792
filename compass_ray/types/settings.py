"""What an operator has decided, checked and ready for use. Picklable; times are in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from compass_ray.types.accounts import Account, Caller
from compass_ray.types.routing import Endpoint

ProviderKind = Literal["openai", "anthropic", "google", "local"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What one request may ask for, and where a node keeps its state."""

    max_body_bytes: int
    max_messages: int
    max_tools: int
    max_n: int
    max_output_tokens: int
    max_parallel_requests: int
    request_timeout: float
    log_requests: bool
    log_prompts: bool
    state_dir: Path
    """Absolute; not created yet."""


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """Each phase of one attempt has its own; `total` bounds them all."""

    connect: float
    first_byte: float
    idle: float
    total: float


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The engine of a local provider; `model_path` None means the model that Compass fetches."""

    model_path: Path | None
    threads: int | None
    """None means all cores but one."""
    context: int
    """Tokens of prompt and answer together."""
    parallel: int


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider in use: how it is spoken to, where, and which variables hold its key.

    The first variable that is set counts; `base_url` stands where none of `base_url_names` is.
    `base_url` has no trailing slash and is empty where only a variable can say it. `engine` is
    there for a local provider and for no other.
    """

    name: str
    kind: ProviderKind
    base_url: str
    base_url_names: tuple[str, ...]
    key_names: tuple[str, ...]
    timeouts: TimeoutSettings
    max_parallel: int
    engine: EngineSettings | None


@dataclass(frozen=True, slots=True)
class WeightSettings:
    """How much each column of the decision matrix counts; they sum to 1."""

    complexity: float
    tokens: float
    latency: float
    cost: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A rules file that was read and found sound; its text travels, the file may not."""

    name: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a circuit opens, for how long, and how it closes; see `policy.breaker`."""

    failure_rate: float
    window: float
    min_calls: int
    consecutive_failures: int
    backoff: tuple[float, ...]
    probes: int
    probe_successes: int


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often one request is tried, and how long it waits in between; see `policy.retry`."""

    max_attempts: int
    backoff_base: float
    backoff_max: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    `endpoints` are those of the providers in use. `callers` is keyed by the SHA-256 digest of the
    API key; without any, everybody is `anonymous`. A caller's `allowed_models` holds endpoint ids.
    `rules` is None where the shipped ones hold.
    """

    server: ServerSettings
    providers: tuple[ProviderSpec, ...]
    endpoints: tuple[Endpoint, ...]
    catalogue_as_of: date
    """The day on which the prices were checked."""
    accounts: Mapping[str, Account]
    callers: Mapping[bytes, Caller] = field(repr=False)
    anonymous: Caller
    weights: WeightSettings
    rules: RulesFile | None
    breaker: BreakerSettings
    retry: RetrySettings
