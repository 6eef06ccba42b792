"""What a wire that is not OpenAI's does with each of OpenAI's top-level fields. Pure.

Each such wire has one table, field name to handling:

| handling   | meaning                                                                     |
|------------|-----------------------------------------------------------------------------|
| translated | the wire has the like                                                       |
| advisory   | a hint or a service of OpenAI's; without it the answer means the same       |
| a tuple    | the values that ask for nothing; any other cannot be expressed: refused     |

A field that is not in the table is refused, so nothing is dropped that nobody thought of.
"""

from collections.abc import Mapping
from typing import Any, Literal

from compass_ray.types.errors import InvalidRequest

Handling = Literal["translated", "advisory"] | tuple[Any, ...]

ADVISORY: Mapping[str, Handling] = {
    "compass": "advisory",  # ours; the router has read it
    "metadata": "advisory",
    "prediction": "advisory",
    "prompt_cache_key": "advisory",
    "prompt_cache_options": "advisory",
    "prompt_cache_retention": "advisory",
    "service_tier": "advisory",
    "store": "advisory",
    "stream_options": "advisory",  # the gateway adds or drops the usage chunk itself
}
"""What no wire but OpenAI's has a use for."""


def refuse_inexpressible(body: Mapping[str, Any], fields: Mapping[str, Handling]) -> None:
    """Check every field against the table; null counts as absent.

    Raises:
        InvalidRequest: names the first field that cannot be expressed.
    """
    for name, value in body.items():
        handling = fields.get(name, ())
        if value is not None and isinstance(handling, tuple) and value not in handling:
            raise inexpressible(name)


def inexpressible(param: str, what: str = "") -> InvalidRequest:
    """Return the refusal of one field; `what` says it better where the name is not enough."""
    message = what or f"the chosen provider cannot express {param}"
    return InvalidRequest(message, code="unsupported_parameter", param=param)
