"""What an operator has decided, checked and ready for use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from compass_ray.policy.breaker import BreakerConfig
from compass_ray.policy.concurrency import Bounds
from compass_ray.policy.idempotency import Keep
from compass_ray.policy.ladder import Escalation
from compass_ray.policy.plan import Plan
from compass_ray.policy.retry import RetryPolicy
from compass_ray.types.accounts import Account, Caller
from compass_ray.types.decisions import LearningMode
from compass_ray.types.experiments import Experiment
from compass_ray.types.routing import Endpoint
from compass_ray.types.settings import (
    AlertSettings,
    BatchSettings,
    ProviderSpec,
    RulesFile,
    ServerSettings,
    WebhookSettings,
)
from compass_ray.types.shifts import DriftMode


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration; picklable.

    `endpoints` are those of the providers in use. `callers` is keyed by the SHA-256 digest of the
    API key; without any, everybody is `anonymous`. `rules` is None where the shipped ones hold.
    """

    server: ServerSettings
    providers: tuple[ProviderSpec, ...]
    endpoints: tuple[Endpoint, ...]
    prices_as_of: date
    """The day on which the prices were checked."""
    accounts: Mapping[str, Account]
    callers: Mapping[bytes, Caller] = field(repr=False)
    anonymous: Caller
    alerts: AlertSettings
    plan: Plan
    """How requests are decided..."""
    plans: Mapping[str, Plan]
    """...but those of these accounts."""
    experiments: tuple[tuple[Experiment, Plan], ...]
    """Each with what its variant does."""
    rules: RulesFile | None
    learned: bool
    """Whether the shipped quality model has a say."""
    learning: LearningMode
    drift: DriftMode
    explore: float
    """Share of requests that may be experiments."""
    keep_decisions: int
    escalation: Escalation | None
    """None where no answer is escalated, whatever its caller asks."""
    adaptive: Mapping[str, Bounds]
    """By provider, where it is found out how many calls at once its endpoints take."""
    breaker: BreakerConfig
    retry: RetryPolicy
    idempotency: Keep
    batches: BatchSettings
    webhooks: WebhookSettings
