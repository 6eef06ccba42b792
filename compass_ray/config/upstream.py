"""Settings of providers, and of the models that can be called there."""

# ruff: noqa: RUF012  # pydantic copies mutable defaults

from typing import Annotated, Self

from pydantic import Field, model_validator

from compass_ray.config.fields import (
    ApiVersion,
    Count,
    Dollars,
    FilePath,
    Name,
    Seconds,
    Section,
    Share,
    Skill,
    Stars,
    TierName,
    TokenPrice,
    Url,
    Variables,
)
from compass_ray.config.spending import Budget, Rates
from compass_ray.types.routing import Capability
from compass_ray.types.settings import ProviderKind


class Timeouts(Section):
    """Seconds for each phase of one attempt."""

    connect_s: Seconds = 5.0
    """Until the connection stands."""
    first_byte_s: Seconds = 120.0
    """From there until the answer begins."""
    idle_s: Seconds = 60.0
    """Between two pieces of an answer."""
    total_s: Seconds = 600.0
    """The whole attempt."""


class Adaptive(Section):
    """Bounds of how many calls at once an endpoint takes, which each replica finds out for itself.

    Answers raise the limit; an overload (429, 503, no answer in time) lowers it.
    """

    floor: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Calls at once that are always made."""
    ceiling: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Calls at once that are never exceeded."""
    wait_s: Seconds = 1.0
    """What a call above the limit waits for a place, before others answer."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.floor > self.ceiling:
            raise ValueError("floor must not be above ceiling")
        return self


class ProviderLimits(Section):
    """How much one replica may ask of a provider."""

    max_parallel: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Calls under way at once."""
    adaptive: Adaptive | None = None
    """How many of them an endpoint takes is found out; without it, only `max_parallel` holds."""


class Engine(Section):
    """The engine that runs a local model on the CPU."""

    model_path: FilePath | None = None
    """A GGUF file; by default the small model that `compass fetch-model` downloads."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads that compute; without a number, all cores but one."""
    context: Annotated[int, Field(ge=64, le=10_000_000)] = 2048
    """Tokens of prompt and answer together."""
    parallel: Annotated[int, Field(ge=1, le=1024)] = 4
    """Requests answered at once; more wait."""


class Provider(Section):
    """Somebody whose models can be called."""

    kind: ProviderKind
    """How it is spoken to; `openai` fits every compatible server."""
    base_url: Url | None = None
    """Where it is; with /v1 for kinds openai and huggingface, without a version for the others."""
    api_version: ApiVersion | None = None
    """Of kind azure: a dated version of its API, such as 2024-10-21; without one, the v1 API."""
    api_version_env: Variables = []
    """Environment variables that replace `api_version`; the first that is set counts."""
    base_url_env: Variables = []
    """Environment variables that replace `base_url`; the first that is set counts."""
    key_env: Variables = []
    """Environment variables with the key; the first that is set counts. None: needs no key."""
    more_keys_env: Variables = []
    """Environment variables with further keys: all that are set are used in turn. One that is
    refused leaves the pool and is tried again later; one at its rate limit rests."""
    timeouts: Timeouts = Timeouts()
    limits: ProviderLimits = ProviderLimits()
    budget: Budget | None = None
    """What all callers together may use of it; without any left, others answer."""
    rates: Rates | None = None
    """How fast; beyond that, others answer."""
    engine: Engine | None = None
    """Of a provider of kind local; no other has one."""
    enabled: bool = True
    """`false` takes it and its endpoints out of service."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        reached = self.base_url is not None or self.base_url_env
        if self.kind == "local":
            if reached or self.key_env or self.more_keys_env:
                raise ValueError(
                    "a local provider runs its own engine; for a server that runs already "
                    "use kind: openai and its base_url"
                )
        elif self.engine is not None:
            raise ValueError("only a provider of kind local has an engine")
        elif not reached:
            raise ValueError("needs base_url or base_url_env")
        elif self.kind != "azure" and (self.api_version or self.api_version_env):
            raise ValueError("only a provider of kind azure has an api_version")
        return self


class Price(Section):
    """US dollars per million tokens; numbers or decimal strings."""

    input: TokenPrice
    """Input tokens."""
    output: TokenPrice
    """Output tokens."""
    cached_input: TokenPrice | None = None
    """Input tokens read from the provider's cache; by default as `input`."""
    cache_write: TokenPrice | None = None
    """Input tokens written to it; by default as `input`."""
    per_request: Dollars = 0
    """Dollars for each call, on top."""
    batch: Annotated[Share, Field(gt=0)] | None = None
    """What tokens cost, as a share of these prices, where the provider may work the request off
    when it suits it: OpenAI's and Azure's `flex`, asked for with `urgency: batch`. null: not
    offered."""


class ModelEndpoint(Section):
    """A place where a model can be called."""

    provider: Name
    """A key of `providers`."""
    wire_model: Annotated[str, Field(min_length=1, max_length=200)]
    """The name that this provider has for the model."""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,100}$")] = ""
    """Tells two endpoints of one provider apart."""
    price: Price | None = None
    """US dollars per million tokens; without one, callers with a budget cannot use it."""
    expected_ttft: Seconds = 1.0
    """Seconds to the first token, as expected of the provider."""
    expected_tpot: Seconds = 0.02
    """Seconds per output token, likewise."""


class Embedding(Section):
    """What a model makes of a text that makes embeddings."""

    dimensions: Annotated[int, Field(ge=1, le=65_536)]
    """How many numbers a vector has."""
    shortens: bool = False
    """Whether it makes shorter ones where a request says `dimensions`."""


class Model(Section):
    """A model by the name that callers use."""

    tier: TierName
    """1 premium, 2 balanced, 3 fast, 4 specialized; number or name."""
    context_window: Count
    """Tokens in and out together."""
    max_output_tokens: Count | None = None
    """Most tokens of one answer; a model that makes embeddings has none."""
    embedding: Embedding | None = None
    """Of a model that makes embeddings, and answers no chats."""
    capabilities: list[Capability] = []
    """What it can do beyond text."""
    skills: dict[Skill, Stars] = {}
    """Stars, 1 to 5."""
    endpoints: Annotated[list[ModelEndpoint], Field(min_length=1)]
    """Where it can be called."""

    @model_validator(mode="after")
    def _answers_fit(self) -> Self:
        if self.embedding is not None:
            if self.max_output_tokens is not None:
                raise ValueError("a model that makes embeddings has no max_output_tokens")
        elif self.max_output_tokens is None:
            raise ValueError("needs max_output_tokens")
        elif self.max_output_tokens > self.context_window:
            raise ValueError("max_output_tokens exceeds context_window")
        return self
