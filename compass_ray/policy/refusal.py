"""Why no endpoint can serve a request, and whose fault that is. Pure."""

from collections.abc import Container, Sequence

from compass_ray.types.errors import CompassError, InvalidRequest, NoEndpoint

_SHOWN = 5


def refusal(excluded: Sequence[tuple[str, str]], unavailable: Container[str]) -> CompassError:
    """Return the error where every endpoint is excluded; (endpoint id, reason) of each.

    Where an endpoint that is out of service might have done it, the same request may work later;
    otherwise the request itself has to change.
    """
    told = [
        (endpoint, reason)
        for endpoint, reason in excluded
        if not reason.startswith("not the model asked for")
    ]
    reasons = "; ".join(f"{endpoint}: {reason}" for endpoint, reason in told[:_SHOWN])
    if len(told) > _SHOWN:
        reasons += f"; and {len(told) - _SHOWN} more"
    down = any(
        endpoint in unavailable or endpoint.partition("/")[0] in unavailable for endpoint, _ in told
    )
    if down:
        return NoEndpoint(f"no endpoint can be called now: {reasons}", code="no_endpoint")
    return InvalidRequest(
        f"no endpoint can do this: {reasons}", code="no_suitable_endpoint", param="model"
    )
