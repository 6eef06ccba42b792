"""A whole answer, looked at before anybody is told, and given up for a dearer one if it is poor.

Each step up is an attempt of its own, within the request's deadline, cost limit, budget, number of
attempts and the replica's retry budget. Where it cannot be made or fails, the answer that is there
is told; of two answers the better one. All of them are charged.

What is seen of answers is remembered by account and type of task, in this replica: where premium is
dear and not needed, balanced is asked first.
"""

from dataclasses import replace

from compass_ray.gateway.attempts import Attempts, Completed
from compass_ray.gateway.job import Job
from compass_ray.gateway.judge import judged
from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.descent import Standing, descended
from compass_ray.policy.evaluate import evaluate
from compass_ray.policy.ladder import Escalation, dearer, may_escalate
from compass_ray.policy.verifier import Verifier
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import CompassError
from compass_ray.types.events import Assessment, Evaluation
from compass_ray.types.routing import Classification, Endpoint, TaskType, Tier

_MOST_STANDINGS = 10_000
"""Accounts' types of tasks that are remembered."""


class Ladder:
    """Answers those requests whose answers may be escalated."""

    def __init__(
        self, escalation: Escalation, attempts: Attempts, verifier: Verifier | None = None
    ) -> None:
        self._escalation = escalation
        self._attempts = attempts
        self._verifier = verifier
        self._standings: dict[tuple[str, TaskType], Standing] = {}

    def is_for(self, request: ChatRequest) -> bool:
        """Tell whether the answer to this request is to be looked at."""
        return may_escalate(request, self._escalation)

    def eased(
        self, request: ChatRequest, seen: Classification, account: str, catalogue: Catalogue
    ) -> Classification:
        """Return `seen`, a tier lower where premium is dear and not needed."""
        standing = self._standings.get((account, seen.task_type))
        if standing is None or not self.is_for(request):
            return seen
        above, dear = self._escalation.above, self._escalation.dear
        return descended(request, seen, catalogue, standing, above=above, dear=dear)

    async def complete(self, job: Job[ChatRequest]) -> Completed:
        """Return a whole answer that is good enough, or the best there is; also for a stream.

        Raises:
            AllAttemptsFailed, NoEndpoint, BudgetExceeded, LedgerUnavailable: nobody answered.
        """
        job = replace(job, request=job.request.in_one_piece())
        best = latest = await self._attempts.complete(job)
        evaluation = reached = await self._evaluation(job, latest)
        while True:
            following = await self._next(job, latest, evaluation)
            if following is None:
                return best
            latest = following
            evaluation = await self._evaluation(job, latest)
            if evaluation.score >= reached.score:
                best, reached = latest, evaluation

    async def _evaluation(self, job: Job[ChatRequest], completed: Completed) -> Evaluation:
        endpoint, classified = completed.endpoint, job.decision.classification
        seen = evaluate(job.request, classified, endpoint, completed.answer, self._verifier)
        needed = self._escalation.below.get(endpoint.tier)
        judge = None if needed is None or seen.score < needed else self._judge(job, endpoint)
        if judge is None:
            return seen
        return await judged(self._attempts, job, judge, completed, seen)

    def _judge(self, job: Job[ChatRequest], endpoint: Endpoint) -> Endpoint | None:
        """Return who may judge: nobody whom the caller could not have been answered by."""
        name = self._escalation.judge
        if name is None or name == endpoint.id:
            return None
        return next((one for one in job.decision.endpoints if one.id == name), None)

    async def _next(
        self, job: Job[ChatRequest], latest: Completed, found: Evaluation
    ) -> Completed | None:
        """Return a dearer answer; None where this one does, or there is none. Notes which."""
        endpoint, tried = latest.endpoint, {one.endpoint for one in job.attempts}
        needed = self._escalation.below.get(endpoint.tier, 0.0)
        self._remember(job, endpoint.tier, found.score, good=found.score >= needed)
        noted = Assessment(endpoint.id, int(endpoint.tier), found, "good")
        place = len(job.assessments)
        job.assessments.append(noted)
        if found.score >= needed:
            return None
        others = dearer(endpoint.tier, [e for e in job.decision.endpoints if e.id not in tried])
        if not others:
            why = "no dearer model may answer"
            job.assessments[place] = noted._replace(outcome="kept", why=why)
            return None
        tier = others[0].tier.name.lower()
        job.assessments[place] = noted._replace(outcome="escalated", why=f"to {tier}")
        try:
            return await self._attempts.another(job, others)
        except CompassError as error:
            why = f"{tier}: {error.message}"
            job.assessments[place] = noted._replace(outcome="kept", why=why)
            return None

    def _remember(self, job: Job[ChatRequest], tier: Tier, score: float, *, good: bool) -> None:
        key = job.caller.account, job.decision.classification.task_type
        standing = self._standings.pop(key, Standing())
        if len(self._standings) >= _MOST_STANDINGS:
            del self._standings[next(iter(self._standings))]  # of all, the longest unused
        self._standings[key] = standing.noted(tier, score, good=good)
