"""Every error of Compass, in one tree that says whose fault it is.

    CompassError
    ├── CallerError                  blame: caller     the request has to change
    │   ├── InvalidRequest           400  names the field
    │   │   ├── BodyTooLarge         413
    │   │   └── InvalidPlan          422  names the path in the plan
    │   ├── Unauthenticated          401
    │   ├── Forbidden                403
    │   ├── UnknownModel             404
    │   ├── NotFound                 404
    │   ├── MethodNotAllowed         405  names the methods that the route has
    │   ├── BudgetExceeded           402  names the account
    │   ├── TooManyRequests          429  names the account, says when to ask again
    │   ├── FeedbackGiven            409  the answer was judged before, and otherwise
    │   ├── IdempotencyKeyReused     422  its Idempotency-Key stands for something else
    │   ├── DeadlineExceeded         504  the deadline that the caller set for its request
    │   └── Rejected                 400  the provider refused the request itself
    ├── CapacityError                blame: capacity   the same request may work later
    │   ├── NoEndpoint               503  every candidate is excluded; says why
    │   ├── LedgerUnavailable        503  no slice left and no authority to ask
    │   ├── IdempotencyUnavailable   503  nobody can say whether the request ran before
    │   ├── LearnerUnavailable       503  nobody can say what was decided, or take feedback
    │   ├── WorkflowsUnavailable     503  nobody can take or tell of a workflow
    │   ├── RunInProgress            409  the same request, by its Idempotency-Key, has not ended
    │   ├── RateLimited              429  the provider's request or token rate
    │   └── QuotaExhausted           429  the provider account's money or quota is used up
    ├── ProviderError                blame: provider   another endpoint may work now
    │   ├── ProviderAuthFailed       502  our key was refused
    │   ├── Overloaded               503
    │   ├── ProviderFault            502  a 5xx of the provider
    │   ├── ProviderTimeout          504  names the phase: connect, first byte, idle, total
    │   ├── ProviderUnreachable      502  connection refused, name not found, TLS
    │   ├── BadAnswer                502  the answer is not what the wire promises
    │   ├── SchemaMissed             502  the model was told a schema in words, and did not keep it
    │   └── BrokenStream             502  the stream ended before its terminal event
    ├── ConfigError                  blame: operator   Compass refuses to start
    └── Defect                       blame: compass    500, a mistake in Compass itself

`AllAttemptsFailed` wraps the last error of a chain and lists every attempt made.
Each error is picklable and carries a message without secrets and without prompt text.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

Blame = Literal["caller", "capacity", "provider", "operator", "compass"]
TimeoutPhase = Literal["connect", "first byte", "idle", "total"]


class CompassError(Exception):
    """Base of all errors; `status` is the HTTP status the gateway answers with."""

    blame: ClassVar[Blame]
    status: ClassVar[int]
    kind: ClassVar[str]
    """OpenAI's `error.type`."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Describe what and which; `param` names the field, `retry_after` is in seconds."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__)


def _rebuild(cls: type[CompassError], state: dict[str, Any]) -> CompassError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class CallerError(CompassError):
    """The request has to change before it can work."""

    blame = "caller"
    status = 400
    kind = "invalid_request_error"


class InvalidRequest(CallerError):
    """A field is missing, of the wrong type or out of range."""


class BodyTooLarge(InvalidRequest):
    """The body exceeds the configured limit."""

    status = 413


class InvalidPlan(InvalidRequest):
    """A workflow's plan could not end well; nothing of it ran."""

    status = 422


class Unauthenticated(CallerError):
    """The API key is missing or unknown."""

    status = 401
    kind = "authentication_error"


class Forbidden(CallerError):
    """The caller is known, and may not do this."""

    status = 403
    kind = "permission_error"


class UnknownModel(CallerError):
    """No endpoint serves the model that was asked for."""

    status = 404


class NotFound(CallerError):
    """No such route or object."""

    status = 404


class MethodNotAllowed(CallerError):
    """The route exists, but not for this method."""

    status = 405

    def __init__(self, message: str, *, allowed: Sequence[str]) -> None:
        """Name the methods that the route has."""
        super().__init__(message, code="method_not_allowed")
        self.allowed = tuple(allowed)


class BudgetExceeded(CallerError):
    """The account, or one above it, has not enough left of a budget for this request."""

    status = 402
    kind = "insufficient_quota"

    def __init__(self, message: str, *, account: str, resets_at: float | None = None) -> None:
        """Name the account; `resets_at` is Unix seconds, None for a lifetime budget."""
        super().__init__(message, code="budget_exceeded")
        self.account = account
        self.resets_at = resets_at


class TooManyRequests(CallerError):
    """The account, or one above it, has used up its minute."""

    status = 429
    kind = "rate_limit_error"


class FeedbackGiven(CallerError):
    """The first word about an answer counts, and it was another."""

    status = 409


class IdempotencyKeyReused(CallerError):
    """The Idempotency-Key stands for another request, or for an answer that was not kept."""

    status = 422
    kind = "idempotency_error"


class DeadlineExceeded(CallerError):
    """The request was not answered within the time that its caller gave."""

    status = 504


class Rejected(CallerError):
    """The provider refused the request itself (4xx, content filter)."""


class CapacityError(CompassError):
    """The same request may work later or elsewhere."""

    blame = "capacity"
    status = 503
    kind = "server_error"


class NoEndpoint(CapacityError):
    """Every candidate is excluded at the moment."""


class LedgerUnavailable(CapacityError):
    """The budget slice is used up and the ledger does not answer."""


class IdempotencyUnavailable(CapacityError):
    """Whether a request with an Idempotency-Key ran before cannot be found out."""


class LearnerUnavailable(CapacityError):
    """The Learner does not answer: decisions cannot be read, nor answers judged."""


class WorkflowsUnavailable(CapacityError):
    """The Workflows actor does not answer, or has as many runs as it takes."""


class BatchesUnavailable(CapacityError):
    """The Batches actor does not answer."""


class FileInUse(CallerError):
    """A batch that is not over reads the file."""

    status = 409


class StorageFull(CallerError):
    """The account's files have no room for another one."""

    status = 413


class RunInProgress(CapacityError):
    """The same request, by its Idempotency-Key, is being answered."""

    status = 409
    kind = "idempotency_error"


class NoSpareCapacity(CapacityError):
    """The provider has no room just now for work that may wait; nothing is charged."""

    status = 429
    kind = "rate_limit_error"


class RateLimited(CapacityError):
    """The provider's request or token rate is reached: its own, or the one configured."""

    status = 429
    kind = "rate_limit_error"


class QuotaExhausted(CapacityError):
    """The provider account's quota is used up, or the budget configured for it."""

    status = 429
    kind = "rate_limit_error"


class ProviderError(CompassError):
    """The provider failed; another endpoint may work now."""

    blame = "provider"
    status = 502
    kind = "server_error"


class ProviderAuthFailed(ProviderError):
    """The provider refused our key."""


class Overloaded(ProviderError):
    """The provider says that it is overloaded."""

    status = 503


class ProviderFault(ProviderError):
    """The provider answered with a 5xx."""


class ProviderTimeout(ProviderError):
    """The provider did not answer in time."""

    status = 504

    def __init__(self, message: str, *, phase: TimeoutPhase) -> None:
        """Name the phase that took too long."""
        super().__init__(message, code="provider_timeout")
        self.phase = phase


class ProviderUnreachable(ProviderError):
    """No connection could be made."""


class BadAnswer(ProviderError):
    """The answer is not what the provider's wire promises."""


class SchemaMissed(ProviderError):
    """The answer is not of the schema that its model was told in words."""


class BrokenStream(ProviderError):
    """The stream ended before its terminal event."""


class AllAttemptsFailed(CompassError):
    """Every attempt failed; carries the last error's blame and status, and all attempts."""

    def __init__(self, last: CompassError, attempts: Sequence[dict[str, Any]]) -> None:
        """Take the last error and one JSON-ready entry per attempt."""
        super().__init__(
            last.message, code=last.code, param=last.param, retry_after=last.retry_after
        )
        self.blame = last.blame  # type: ignore[misc]  # an instance speaks for its last error
        self.status = last.status  # type: ignore[misc]
        self.kind = last.kind  # type: ignore[misc]
        self.attempts = list(attempts)

    @property
    def cost(self) -> int:
        """Return what all attempts were charged, in micro-dollars."""
        return sum(one.get("cost_micro_usd") or 0 for one in self.attempts)


class ConfigError(CompassError):
    """The configuration cannot be used; names file, line and key."""

    blame = "operator"
    status = 500
    kind = "server_error"

    def __init__(
        self, message: str, *, file: str = "", line: int | None = None, key: str = ""
    ) -> None:
        """Point at the place; `line` is 1-based, `key` is a dotted path."""
        place = ":".join(str(part) for part in (file, line) if part)
        super().__init__(": ".join(part for part in (place, key, message) if part), param=key)
        self.file = file
        self.line = line
        self.key = key


class Defect(CompassError):
    """Something that nobody expected: a mistake in Compass itself."""

    blame = "compass"
    status = 500
    kind = "server_error"
