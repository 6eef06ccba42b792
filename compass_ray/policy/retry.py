"""What to do after a failed attempt. Pure: chance is an argument.

Sources: full jitter from M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015;
the budget from Envoy's `retry_budget`, which bounds retries in progress by requests in progress.
"""

from dataclasses import dataclass

from compass_ray.types.errors import (
    BadAnswer,
    BrokenStream,
    CallerError,
    CompassError,
    DeadlineExceeded,
    InvalidRequest,
    ProviderAuthFailed,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    SchemaMissed,
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_attempts` counts every call of one request; backoff is in seconds.

    Of the requests in progress at most the share `budget` may be trying an endpoint again, and
    `budget_floor` in any case. Going elsewhere is no load for the endpoint that failed, and free.

    Where an attempt has not begun to answer after `hedge_after` seconds, a second one is begun
    beside it at the next candidate, and counts as a retry; None is never.
    """

    max_attempts: int = 3
    backoff_base: float = 0.2
    backoff_max: float = 8.0
    budget: float = 0.2
    budget_floor: int = 3
    hedge_after: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`elsewhere`: another endpoint may do it. `again_after`: seconds until this one may."""

    elsewhere: bool
    again_after: float | None


def after(error: CompassError, failures: int, policy: RetryPolicy, u: float) -> Verdict:
    """Judge `error`, the `failures`-th of its request; `u` is uniform in [0, 1).

    A request that the caller must change is tried nowhere else, except where just this
    provider's wire cannot express it. A refused key or an exhausted quota will not mend itself
    within a request; a model that missed its schema is asked again in other words, if at all.
    """
    if isinstance(error, InvalidRequest):
        return Verdict(elsewhere=True, again_after=None)
    if isinstance(error, CallerError):
        return Verdict(elsewhere=False, again_after=None)
    if isinstance(error, ProviderAuthFailed | QuotaExhausted | SchemaMissed):
        return Verdict(elsewhere=True, again_after=None)
    ceiling = min(policy.backoff_max, policy.backoff_base * 2 ** (failures - 1))
    wait = u * ceiling
    if isinstance(error, RateLimited):
        wait = policy.backoff_base + wait  # never at once: the limit was just reached
    if error.retry_after is not None:
        wait = max(wait, error.retry_after)
    return Verdict(elsewhere=True, again_after=wait if wait <= policy.backoff_max else None)


def may_try_again(retrying: int, in_progress: int, policy: RetryPolicy) -> bool:
    """Return whether one more of the requests in progress may try an endpoint again."""
    return retrying < max(policy.budget_floor, policy.budget * in_progress)


def may_have_produced(error: CompassError) -> bool:
    """Return whether the provider may have worked, and charges, although the call failed."""
    if isinstance(error, ProviderTimeout):
        return error.phase != "connect"
    return isinstance(error, BrokenStream | BadAnswer | DeadlineExceeded)
