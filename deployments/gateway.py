"""`deployments.gateway:build`: the gateway as a Serve application."""

from collections.abc import Mapping
from typing import Any

from ray.serve import Application

from compass_ray.config import load
from compass_ray.serving.app import gateway_app


def build(args: Mapping[str, Any]) -> Application:
    """Return the gateway with `args` as its inline configuration.

    Raises:
        ConfigError: names the file, the line and the key.
    """
    return gateway_app(load(inline=args))
