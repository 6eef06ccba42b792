"""The shape of compass.yaml: every setting, its default, its bounds and what it means."""

# ruff: noqa: RUF012  # pydantic copies mutable defaults

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from compass_ray.config.experiments import Experiment
from compass_ray.config.fields import (
    Count,
    Day,
    Dollars,
    Drifting,
    Escalating,
    FilePath,
    Frugality,
    Learning,
    Name,
    Seconds,
    Section,
    Share,
    Url,
    Variables,
)
from compass_ray.config.spending import AccountEntry, Alerts, Key
from compass_ray.config.upstream import Model, ModelEndpoint, Price, Provider
from compass_ray.config.weights import Weights


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
    reader_timeout_s: Seconds = 60.0
    """Seconds after which a stream is ended whose caller does not read it."""
    log_requests: bool = False
    """Whether each finished request is one line of JSON in the log: facts, no word of it."""
    log_prompts: bool = False
    """Whether prompts may appear in logs."""
    state_dir: FilePath | None = None
    """Folder for ledger, journals, decisions and kept answers; by default `compass` below
    $XDG_STATE_HOME, else below ~/.local/state."""


class Thrift(Section):
    """How much more a low price counts once a budget is nearly used up."""

    used: Share
    """From this share of the caller's tightest budget of money."""
    cost_factor: Annotated[float, Field(ge=1, le=1000)]
    """The weight of cost is multiplied by it; the others shrink."""


class Decisions(Section):
    """What is remembered of decisions: how they came about, never a word of a prompt."""

    keep: Annotated[int, Field(ge=0, le=100_000_000)] = 100_000
    """So many, one to three kB each, in decisions.db in `state_dir`; the oldest go first. A replica
    keeps up to 200 a second, of a long rush a sample. 0 keeps none, and feedback has nothing to be
    about."""


class Escalation(Section):
    """Poor answers, given up for those of the next tier before anybody is told."""

    mode: Escalating = "off"
    """`on`: where the caller does not object; `asked`: where `compass.escalate` asks for it; `off`:
    nowhere."""
    fast_below: Share = 0.6
    """From fast to balanced where the answer scores less than this, 0 to 1."""
    balanced_below: Share = 0.7
    """From balanced to premium likewise."""
    premium_above: Share = 0.9
    """Where premium's answers to an account's tasks of one type score more, balanced is asked
    first when an answer of premium's is dear; a poor one still goes to premium."""
    dear_usd: Dollars = Field(default="0.01", validate_default=True)
    """Dollars that an answer of premium's has to be expected to cost, to be dear."""
    judge: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    """An endpoint, `provider/model`, that is asked about answers in which nothing else is amiss;
    it has to be one that the caller could be answered by. Charged to the request. null: nobody."""
    verifier: bool = True
    """Whether the shipped verifier says how likely an answer to a question of mathematics is
    right; no call is made for it."""


class Routing(Section):
    """How a model is chosen."""

    weights: Weights = Weights()
    thrift: list[Thrift] = [
        Thrift(used=0.75, cost_factor=2),
        Thrift(used=0.90, cost_factor=4),
    ]
    """How much more a low price counts once the caller's budget is nearly used up."""
    rules: FilePath | None = None
    """A file of classification rules in place of the shipped compass_ray/data/rules.yaml; it is
    followed while the gateway runs, and refused with line and reason where it is not sound."""
    learned: bool = False
    """Whether the shipped model, which expects a quality of each tier's answer to the request, has
    a say: the tier that is worth its price, and the accuracy column; `false` goes by the rules and
    the models' stars."""
    frugality: Frugality = 0.076
    """With `learned`: so much expected quality is given up to save the cost of a premium answer."""
    learning: Learning = "on"
    """Whether feedback corrects what that model expects: `on`; `frozen` uses what was learned and
    learns no more; `off` does neither."""
    drift: Drifting = "alert"
    """Whether it is watched that an endpoint's answers to a type of task stay what they are, in
    scores, failures, seconds and tokens: `alert` tells of drift as of budgets; `freeze` freezes
    learning as well; `off`. Takes `decisions.keep`."""
    explore: Share = 0.0
    """Share of the requests for `auto` whose expectation is drawn by chance from what is believed
    (Thompson sampling), so that feedback says more; 0 decides the same way every time."""
    decisions: Decisions = Decisions()
    escalation: Escalation = Escalation()
    experiments: list[Experiment] = []
    """Ways of choosing that are compared on real traffic; a request takes part in the first that
    has a place for it."""

    @model_validator(mode="after")
    def _experiments_can_be_told_apart_and_judged(self) -> Self:
        names = [one.name for one in self.experiments]
        if len(set(names)) < len(names):
            raise ValueError("two experiments have the same name")
        if names and not self.decisions.keep:
            raise ValueError("experiments take decisions.keep: without it nothing is known of them")
        if not self.learned and any(one.variant.frugality is not None for one in self.experiments):
            raise ValueError("an experiment's frugality takes learned: true")
        return self


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


class Idempotency(Section):
    """What becomes of the answers to requests that carry an Idempotency-Key."""

    keep_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24.0
    """For so long an answer is told again to whoever asks the same under the same key."""
    keep_bytes: Annotated[int, Field(ge=1024**2, le=1024**4)] = 1024**3
    """Room for answers in `state_dir`; beyond it, the oldest of the largest account go first."""


class Batches(Section):
    """Files of requests that are answered in the background: /v1/files and /v1/batches."""

    max_file_bytes: Annotated[int, Field(ge=1, le=1024**3)] = 100 * 1024**2
    """Longest file that may be uploaded."""
    max_stored_bytes: Annotated[int, Field(ge=1, le=1024**4)] = 1024**3
    """Room for the files of one account that it has uploaded."""
    max_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Most requests of one batch."""
    parallel: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Requests of all batches that are under way at once."""
    keep_days: Annotated[float, Field(gt=0, le=366)] = 30.0
    """For so long files are kept, where nobody has said otherwise, and batches that are over."""


class Webhooks(Section):
    """Where a task or workflow may have its end posted to; nowhere by default."""

    allow: list[Url] = []
    """Beginnings of URLs: `https://hooks.example.com` is every path of that host. Whoever may call
    can have Compass post there, so it names no host of your own that trusts whoever reaches it."""
    secret_env: Variables = []
    """Environment variables with the secret that signs, `whsec_` and base64 of 24 to 64 bytes; the
    first that is set counts."""

    @model_validator(mode="after")
    def _is_signed(self) -> Self:
        if self.allow and not self.secret_env:
            raise ValueError("allow takes secret_env: webhooks are signed")
        return self


class Workflows(Section):
    """Tasks and workflows."""

    webhooks: Webhooks = Webhooks()


class Config(Section):
    """Settings of Compass."""

    as_of: Day
    """The day on which the prices were checked; the shipped catalogue says its own."""
    server: Server = Server()
    providers: dict[Name, Provider] = {}
    """By name. openai, azure, anthropic, google, huggingface, replicate and local are there
    already."""
    models: dict[Name, Model | None] = {}
    """By name; adds to the shipped catalogue or overrides parts of it, null removes a model."""
    accounts: dict[Name, AccountEntry] = {}
    """By name. Without `keys`, everybody calls as the account `open`."""
    keys: list[Key] = []
    """The API keys of callers; without any, everybody may call, from this machine."""
    alerts: Alerts = Alerts()
    routing: Routing = Routing()
    breaker: Breaker = Breaker()
    retry: Retry = Retry()
    idempotency: Idempotency = Idempotency()
    batches: Batches = Batches()
    workflows: Workflows = Workflows()


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of compass.yaml.

    A file need only say what it changes, so nothing is required of what merges with the
    defaults, and a section may be empty; the items of lists replace them, and stay strict.
    """
    schema = Config.model_json_schema()
    in_lists = {Key.__name__, ModelEndpoint.__name__, Price.__name__, Thrift.__name__}
    in_lists.add(Experiment.__name__)
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
