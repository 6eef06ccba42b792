"""What differs between the generations of Claude, told by the model's name. Pure.

Sources: platform.claude.com, "Adaptive thinking" and "Versions" (2026-10-21): up to 4.6 models
take `temperature` and `top_p`; from 4.6 on they think adaptively, steered by `effort`, and before
with a budget of tokens; Fable and Mythos cannot be kept from thinking. "Migration guide": from 4.6
on an answer cannot be begun for them (a prefill is a 400).
"""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_LAST_THAT_SAMPLES = (4, 6)
_FIRST_ADAPTIVE = (4, 6)
_FIRST_WITHOUT_PREFILL = (4, 6)


@dataclass(frozen=True, slots=True)
class Generation:
    """What a model's generation takes."""

    sampling: bool
    adaptive: bool
    always_thinks: bool
    prefills: bool


def generation(wire_model: str) -> Generation:
    """Return the generation; a name that says no version is taken for a new model."""
    found = _VERSION.search(wire_model)
    version = (int(found[1]), int(found[2] or 0)) if found else (99, 0)
    return Generation(
        sampling=version <= _LAST_THAT_SAMPLES,
        adaptive=version >= _FIRST_ADAPTIVE,
        always_thinks="fable" in wire_model or "mythos" in wire_model,
        prefills=version < _FIRST_WITHOUT_PREFILL,
    )
