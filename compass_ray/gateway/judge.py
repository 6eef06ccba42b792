"""Asking another model what it thinks of an answer: one more attempt at the same request.

It is charged to the request, within its deadline, cost limit, budget and number of attempts. A
judge that cannot be asked, or says nothing that can be read, changes nothing.
"""

import json
from dataclasses import replace

from compass_ray.gateway.attempts import Attempts, Completed
from compass_ray.gateway.job import Job
from compass_ray.policy.evaluate import text_of
from compass_ray.policy.opinion import OUTPUT_TOKENS, question, verdict
from compass_ray.policy.tokens import input_tokens
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import CompassError
from compass_ray.types.events import Evaluation
from compass_ray.types.routing import Endpoint, Preferences


async def judged(
    attempts: Attempts,
    job: Job[ChatRequest],
    judge: Endpoint,
    completed: Completed,
    seen: Evaluation,
) -> Evaluation:
    """Return the lower of what was `seen` and what the judge says of the first choice."""
    text = text_of(completed.answer.body["choices"][0])
    if not text:
        return seen
    try:
        told = await attempts.another(_asking(job, judge, text), [judge])
    except CompassError as error:
        return _with(seen, seen.score, f"judge {judge.id}: {type(error).__name__}")
    score = verdict(text_of(told.answer.body["choices"][0]))
    if score is None:
        return _with(seen, seen.score, f"judge {judge.id}: no verdict")
    return _with(seen, min(seen.score, score), f"judge {judge.id}: {score:.1f}")


def _with(seen: Evaluation, score: float, reason: str) -> Evaluation:
    return Evaluation(score, (*seen.reasons, reason))


def _asking(job: Job[ChatRequest], judge: Endpoint, text: str) -> Job[ChatRequest]:
    """Return the job of asking the judge, on the account and the limits of `job`."""
    body = question(job.request, text, judge.model)
    told = "\n".join(message["content"] for message in body["messages"])
    request = ChatRequest(
        body=body,
        model=judge.id,
        text=told,
        last_user_text=body["messages"][-1]["content"],
        needs=frozenset(),
        max_output_tokens=OUTPUT_TOKENS,
        input_bytes=len(json.dumps(body, ensure_ascii=False).encode()),
        preferences=Preferences(
            max_cost=job.request.preferences.max_cost, timeout=job.request.preferences.timeout
        ),
    )
    seen = replace(
        job.decision.classification,
        input_tokens=input_tokens(request),
        expected_output_tokens=OUTPUT_TOKENS,
    )
    return replace(job, request=request, decision=replace(job.decision, classification=seen))
