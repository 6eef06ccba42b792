"""The shape of compass.yaml: every setting, its default, its bounds and what it means."""

# ruff: noqa: RUF012  # pydantic copies mutable defaults

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from compass_ray.config.fields import (
    KEY_HASH,
    Count,
    Day,
    Dollars,
    FilePath,
    Glob,
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
from compass_ray.types.accounts import Period
from compass_ray.types.routing import Capability
from compass_ray.types.settings import ProviderKind

_WEIGHTS_TOLERANCE = 1e-6


class Server(Section):
    """What one request may ask for, and where a node keeps its state."""

    max_body_bytes: Count = 20 * 1024 * 1024
    """Longest request body."""
    max_messages: Count = 10_000
    """Most messages in one request."""
    max_tools: Count = 128
    """Most tools in one request."""
    max_n: Annotated[int, Field(ge=1, le=128)] = 8
    """Most choices (`n`) in one request."""
    max_output_tokens: Count = 131_072
    """Most output tokens that one request may ask for."""
    max_parallel_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Requests that one replica works on at once."""
    request_timeout_s: Seconds = 600.0
    """Seconds for a request, with all its attempts."""
    log_requests: bool = False
    """Whether each finished request is one line of JSON in the log: facts, no word of it."""
    log_prompts: bool = False
    """Whether prompts may appear in logs."""
    state_dir: FilePath | None = None
    """Folder for the ledger and the journals; by default `compass` below $XDG_STATE_HOME, else
    below ~/.local/state."""


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


class ProviderLimits(Section):
    """How much one replica may ask of a provider."""

    max_parallel: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Calls under way at once."""


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
    """Where it is; with /v1 for kind openai, without a version for the others."""
    base_url_env: Variables = []
    """Environment variables that replace `base_url`; the first that is set counts."""
    key_env: Variables = []
    """Environment variables with the key; the first that is set counts. None: needs no key."""
    timeouts: Timeouts = Timeouts()
    limits: ProviderLimits = ProviderLimits()
    engine: Engine | None = None
    """Of a provider of kind local; no other has one."""
    enabled: bool = True
    """`false` takes it and its endpoints out of service."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        reached = self.base_url is not None or self.base_url_env
        if self.kind == "local":
            if reached or self.key_env:
                raise ValueError(
                    "a local provider runs its own engine; for a server that runs already "
                    "use kind: openai and its base_url"
                )
        elif self.engine is not None:
            raise ValueError("only a provider of kind local has an engine")
        elif not reached:
            raise ValueError("needs base_url or base_url_env")
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


class Model(Section):
    """A model by the name that callers use."""

    tier: TierName
    """1 premium, 2 balanced, 3 fast, 4 specialized; number or name."""
    context_window: Count
    """Tokens in and out together."""
    max_output_tokens: Count
    """Most tokens of one answer."""
    capabilities: list[Capability] = []
    """What it can do beyond text."""
    skills: dict[Skill, Stars] = {}
    """Stars, 1 to 5."""
    endpoints: Annotated[list[ModelEndpoint], Field(min_length=1)]
    """Where it can be called."""

    @model_validator(mode="after")
    def _answers_fit(self) -> Self:
        if self.max_output_tokens > self.context_window:
            raise ValueError("max_output_tokens exceeds context_window")
        return self


class Budget(Section):
    """How much an account may spend."""

    limit_usd: Dollars
    """US dollars a period; a number or a decimal string."""
    period: Period = "lifetime"
    """When it starts anew; days and months are UTC's."""


class AccountEntry(Section):
    """Who pays. What an account spends counts for all accounts above it."""

    parent: Name | None = None
    """The account above it."""
    budget: Budget | None = None
    """Unlimited when not given."""
    allowed_models: Annotated[list[Glob], Field(min_length=1)] | None = None
    """Names or endpoint ids, with * and ?; what an account above forbids stays forbidden."""


class Key(Section):
    """A caller's API key, of which only the hash is kept."""

    name: Name
    """What it is called in the log."""
    hash: Annotated[str, Field(pattern=KEY_HASH)]
    """`sha256:` and the SHA-256 digest of the key in hex."""
    account: Name
    """The account that pays."""
    admin: bool = False
    """Whether it may operate what all share, such as circuits."""


class Weights(Section):
    """How much each column of the decision matrix counts; they sum to 1."""

    complexity: Share = 0.30
    """Fit of the model's tier and skills to the task."""
    tokens: Share = 0.25
    """Room left in its context window."""
    latency: Share = 0.20
    """How fast it is."""
    cost: Share = 0.15
    """How cheap it is."""
    accuracy: Share = 0.10
    """How much its skills matter for a critical task."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.complexity + self.tokens + self.latency + self.cost + self.accuracy
        if abs(total - 1) > _WEIGHTS_TOLERANCE:
            raise ValueError(f"the weights sum to {total:.6g}, not to 1")
        return self


class Routing(Section):
    """How a model is chosen."""

    weights: Weights = Weights()
    rules: FilePath | None = None
    """A file of classification rules in place of the shipped compass_ray/data/rules.yaml."""


class Breaker(Section):
    """When an endpoint's circuit opens, for how long, and how it closes again."""

    failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.20
    """Opens above this share of failed calls in the window."""
    window_s: Seconds = 60.0
    """Seconds of that window."""
    min_volume: Count = 10
    """Calls that the window must hold before the share counts."""
    consecutive_failures: Count = 5
    """Opens after so many failures in a row, too."""
    cooldowns_s: Annotated[list[Seconds], Field(min_length=1, max_length=16)] = [
        60.0,
        300.0,
        900.0,
        3600.0,
    ]
    """Seconds it stays open after the first, second, ... time; the last one repeats."""
    probes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Calls let through at once when the cool-down is over."""
    successes_to_close: Annotated[int, Field(ge=1, le=1000)] = 3
    """It closes after so many probes succeeded."""


class Retry(Section):
    """What happens after a failed attempt."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """Calls made for one request, at whichever endpoints."""
    backoff_base_s: Seconds = 0.2
    """Longest wait in seconds after the first failure; it doubles with each further one."""
    backoff_max_s: Seconds = 8.0
    """The longest wait of all."""
    budget: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of a replica's requests in progress that may be trying an endpoint again."""
    budget_floor: Annotated[int, Field(ge=0, le=1000)] = 3
    """So many may in any case."""
    hedge_after_s: Seconds | None = None
    """Seconds without an answer after which a second attempt begins beside the first; null: never.

    It is begun at the next candidate, and counts as trying again. The first to begin its answer
    wins; what the other one has produced by then is charged, too."""

    @model_validator(mode="after")
    def _base_is_least(self) -> Self:
        if self.backoff_base_s > self.backoff_max_s:
            raise ValueError("backoff_base_s exceeds backoff_max_s")
        return self


class Config(Section):
    """Settings of Compass."""

    as_of: Day
    """The day on which the prices were checked; the shipped catalogue says its own."""
    server: Server = Server()
    providers: dict[Name, Provider] = {}
    """By name. openai, anthropic, google and local are there already."""
    models: dict[Name, Model | None] = {}
    """By name; adds to the shipped catalogue or overrides parts of it, null removes a model."""
    accounts: dict[Name, AccountEntry] = {}
    """By name. Without `keys`, everybody calls as the account `open`."""
    keys: list[Key] = []
    """The API keys of callers; without any, everybody may call, from this machine."""
    routing: Routing = Routing()
    breaker: Breaker = Breaker()
    retry: Retry = Retry()


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of compass.yaml.

    A file need only say what it changes, so nothing is required of what merges with the
    defaults, and a section may be empty; the items of lists replace them, and stay strict.
    """
    schema = Config.model_json_schema()
    in_lists = {Key.__name__, ModelEndpoint.__name__, Price.__name__}
    for name, definition in schema["$defs"].items():
        if name not in in_lists:
            definition.pop("required", None)
    schema.pop("required")
    for name, section in schema["properties"].items():
        if "patternProperties" in section:
            section["additionalProperties"] = False
        words = {key: section.pop(key) for key in ("description", "default") if key in section}
        schema["properties"][name] = {"anyOf": [section, {"type": "null"}], **words}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
