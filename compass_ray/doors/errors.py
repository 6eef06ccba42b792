"""What every dialect tells of an error, and how a field of the normal form gets its own name."""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from compass_ray.types.errors import AllAttemptsFailed, BudgetExceeded, CompassError

_MESSAGE = re.compile(r"messages\[(\d+)\]")


def facts(error: CompassError, request_id: str) -> dict[str, Any]:
    """Return what Compass knows of an error, JSON-ready."""
    told: dict[str, Any] = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": error.code,
        "blame": error.blame,
        "request_id": request_id,
    }
    if isinstance(error, AllAttemptsFailed):
        told["attempts"] = error.attempts
    if isinstance(error, BudgetExceeded):
        told["account"] = error.account
        told["resets_at"] = error.resets_at
    return told


def renamed(error: CompassError, names: Mapping[str, str], origins: Sequence[str]) -> CompassError:
    """Return `error` with its field as the caller wrote it.

    `names` maps a field of the normal form to the dialect's, `origins` the index of a message to
    the path of what it was made from; within a message nothing more precise is known.
    """
    param = error.param
    if param is None:
        return error
    message = _MESSAGE.match(param)
    if message is not None and int(message[1]) < len(origins):
        name = origins[int(message[1])]
    else:
        field = re.split(r"[.\[]", param, maxsplit=1)[0]
        name = names.get(field, param)
    if name == param:
        return error
    told = copy(error)
    told.param = name
    told.message = error.message.replace(param, name)
    told.args = (told.message,)
    return told
