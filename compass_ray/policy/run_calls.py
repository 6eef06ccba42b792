"""What each call of a run that is over came to, for those who compare them. Pure."""

import re
from collections.abc import Iterable, Mapping

from compass_ray.policy.plans import calls
from compass_ray.types.plans import Call, Step
from compass_ray.types.workflows import CallRecord, Event, Failed, Finished, Started

_MANY = re.compile(r"@\d+|(?<=\.worker)\[\d+\]")
"""Which round it is, or which task: what a path in a run has beyond the one in the plan."""


def call_records(plan: Step | None, history: Iterable[Event]) -> list[CallRecord]:
    """Return every call of a run that ended; without a plan, without names and agents."""
    known: Mapping[str, Call] = {} if plan is None else dict(calls(plan))
    began: dict[str, float] = {}
    records = []
    for event in history:
        if isinstance(event, Started):
            began[event.step] = event.at
        elif isinstance(event, Finished | Failed):
            place = _MANY.sub("", event.step)
            call = known.get(place)
            records.append(
                CallRecord(
                    path=event.step,
                    attempt=event.attempt,
                    step=place if call is None else call.name or place,
                    agent=None if call is None else call.agent,
                    endpoint=event.endpoint if isinstance(event, Finished) else None,
                    failed=isinstance(event, Failed),
                    code=event.code if isinstance(event, Failed) else "",
                    cost=event.cost,
                    seconds=max(0.0, event.at - began.get(event.step, event.at)),
                )
            )
    return records
