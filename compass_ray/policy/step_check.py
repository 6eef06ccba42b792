"""What is wrong with what a workflow's step gives, by its check. Pure."""

from compass_ray.policy.declined import declines
from compass_ray.policy.wellformed import flaw_of_text
from compass_ray.types.plans import Check
from compass_ray.types.workflows import Value

__all__ = ["flaw_of_step"]


def flaw_of_step(check: Check, value: Value) -> str | None:
    """Return what is wrong with an answer, as far as can be seen; None: nothing."""
    text = value.text
    if declines(text):
        return "it refuses"
    if check.schema is not None:
        asked = {"type": "json_schema", "json_schema": {"schema": check.schema}}
        if flaw := flaw_of_text(text, asked):
            return f"it {flaw}"
    folded = text.casefold()
    for wanted in check.contains:
        if wanted.casefold() not in folded:
            return f"it does not say {wanted!r}"
    if value.confidence is not None and value.confidence < check.confidence:
        return f"only {value.confidence:.0%} agree"
    return None
