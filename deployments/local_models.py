"""`deployments.local_models:build`: open models on vLLM as a Serve application."""

from collections.abc import Mapping
from typing import Any

from ray.serve import Application

from compass_ray.config.local_models import load_local_models
from compass_ray.serving.model_deployments import local_models_app


def build(args: Mapping[str, Any]) -> Application:
    """Return an application that serves the models in `args`.

    Raises:
        ConfigError: names the key.
    """
    return local_models_app(load_local_models(args))
