"""What is left to try for one request, in which order, and what to report if all of it fails."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType

from compass_ray.policy.retry import Verdict
from compass_ray.policy.verdict import judge
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import CompassError, InvalidRequest
from compass_ray.types.routing import Endpoint

_NONE: Mapping[str, ChatRequest] = MappingProxyType({})


class Course:
    """What is left to try for one job, and the failure to report if nothing succeeds.

    Endpoints are put in order only as far as they are tried: mostly the first is enough.
    """

    __slots__ = ("_again", "_mending", "_untried", "failure", "mended")

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._untried = iter(endpoints)
        self._again: deque[tuple[Endpoint, float]] = deque()
        self._mending: deque[Endpoint] = deque()
        self.failure: CompassError | None = None
        self.mended: Mapping[str, ChatRequest] = _NONE
        """What endpoints are asked the second time, by their ids."""

    def next(self) -> tuple[Endpoint, float] | None:
        """Return the next endpoint and for how many seconds to wait before; None: that was all."""
        if self._mending:
            return self._mending.popleft(), 0.0
        endpoint = self.next_untried()
        if endpoint is not None:
            return endpoint, 0.0
        return self._again.popleft() if self._again else None

    def next_untried(self) -> Endpoint | None:
        """Return the next endpoint that was not tried yet."""
        return next(self._untried, None)

    def put_back(self, endpoint: Endpoint) -> None:
        """Leave an untried endpoint to the next who asks."""
        self._untried = chain((endpoint,), self._untried)

    def mend(self, endpoint: Endpoint, request: ChatRequest) -> None:
        """Ask the endpoint next, once, for a better answer than its first."""
        if endpoint.id not in self.mended:
            self.mended = {**self.mended, endpoint.id: request}
            self._mending.append(endpoint)

    def keep(self, fits: Callable[[Endpoint], bool]) -> None:
        """Forget the endpoints that do not fit."""
        self._untried = filter(fits, self._untried)
        self._again = deque(one for one in self._again if fits(one[0]))

    def fail(self, error: CompassError) -> None:
        """Note that a candidate could not be asked."""
        # What one wire cannot express says less than anything else.
        if self.failure is None or isinstance(self.failure, InvalidRequest):
            self.failure = error

    def learn(self, endpoint: Endpoint, error: CompassError, verdict: Verdict) -> None:
        """Draw the conclusions from a failure of `endpoint`."""
        self.failure = _telling(self.failure, error)
        if not verdict.elsewhere:
            self._untried = iter(())
            self._again.clear()
            return
        if judge(error).verdict == "failure":
            # It may be all of the provider that is down: its other models can wait.
            self._untried = iter(sorted(self._untried, key=lambda one: _is_beside(one, endpoint)))
        if verdict.again_after is not None:
            self._again.append((endpoint, verdict.again_after))


def _is_beside(endpoint: Endpoint, failed: Endpoint) -> bool:
    return endpoint.provider == failed.provider


def _telling(first: CompassError | None, second: CompassError) -> CompassError:
    """Return the error to report: what one wire cannot express says less than a real failure."""
    return first if first is not None and isinstance(second, InvalidRequest) else second
