"""Who is calling, as JSON, for what goes on in their name after a restart."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from compass_ray.types.accounts import Caller


def as_json(caller: Caller) -> dict[str, Any]:
    """Return a caller, JSON-ready; the same for equal ones."""
    models = caller.allowed_models
    return asdict(caller) | {"allowed_models": None if models is None else sorted(models)}


def from_json(told: Mapping[str, Any]) -> Caller:
    """Return the caller that was told so."""
    models = told["allowed_models"]
    return Caller(**{**told, "allowed_models": None if models is None else frozenset(models)})
