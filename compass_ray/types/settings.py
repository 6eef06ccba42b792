"""Parts of what an operator has decided, checked and ready for use. Times are in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ProviderKind = Literal[
    "openai", "azure", "anthropic", "google", "huggingface", "replicate", "local"
]


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
    reader_timeout: float
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
    api_version: str = ""
    """A dated version of Azure's API; stands where none of `api_version_names` is set."""
    api_version_names: tuple[str, ...] = ()
    more_key_names: tuple[str, ...] = ()
    """Variables with further keys; all that are set are used in turn."""

    @property
    def all_key_names(self) -> tuple[str, ...]:
        """Every variable that may hold a key."""
        return self.key_names + self.more_key_names


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """At which percents of a budget somebody is told, and where each alert is posted to."""

    percents: tuple[int, ...]
    """Ascending."""
    webhook: str | None


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Bounds of batches and of the files that they are made of."""

    max_file_bytes: int
    max_stored_bytes: int
    """Of all files of an account."""
    max_requests: int
    """Of one batch."""
    parallel: int
    """Requests of all batches that are under way at once."""
    keep_seconds: float
    """That files are kept which nobody has said another time for."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where callers may have ends of runs posted to, and which variables hold the secrets."""

    allow: tuple[str, ...]
    """Beginnings of URLs."""
    secret_names: tuple[str, ...]
    account_secret_names: Mapping[str, tuple[str, ...]]
    """In place of `secret_names`, for these accounts."""

    def names_for(self, account: str) -> tuple[str, ...]:
        """Return the variables of which the first that is set signs for an account."""
        return self.account_secret_names.get(account, self.secret_names)


@dataclass(frozen=True, slots=True)
class RulesFile:
    """A rules file that was read and found sound; its text travels, the file may not."""

    name: str
    text: str = field(repr=False)


def first_set(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Return the first of these environment variables that holds more than blanks."""
    values = (environ.get(name, "").strip() for name in names)
    return next((value for value in values if value), None)
