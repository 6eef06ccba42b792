"""Why no endpoint can serve a request, and whose fault that is. Pure."""

from collections.abc import Sequence

from compass_ray.types.errors import CompassError, InvalidRequest, NoEndpoint
from compass_ray.types.routing import Exclusion

_SHOWN = 5


def refusal(excluded: Sequence[Exclusion]) -> CompassError:
    """Return the error where every endpoint is excluded.

    Where one is only out of service, the same request may work later; otherwise the request
    itself has to change.
    """
    told = [one for one in excluded if one.kind != "unasked"]
    reasons = "; ".join(f"{one.endpoint_id}: {one.reason}" for one in told[:_SHOWN])
    if len(told) > _SHOWN:
        reasons += f"; and {len(told) - _SHOWN} more"
    if any(one.kind == "unavailable" for one in told):
        return NoEndpoint(f"no endpoint can be called now: {reasons}", code="no_endpoint")
    return InvalidRequest(
        f"no endpoint can do this: {reasons}", code="no_suitable_endpoint", param="model"
    )
