"""Kind of provider to its wire, imported when first asked for."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from compass_ray.providers.base import Wire
from compass_ray.types.errors import ConfigError

KINDS: Mapping[str, str] = {
    "openai": "compass_ray.providers.openai:OpenAIWire",
    "azure": "compass_ray.providers.azure:AzureWire",
    "anthropic": "compass_ray.providers.anthropic:AnthropicWire",
    "google": "compass_ray.providers.google:GoogleWire",
    "huggingface": "compass_ray.providers.huggingface:HuggingFaceWire",
    "replicate": "compass_ray.providers.replicate:ReplicateWire",
    "local": "compass_ray.providers.local:LocalWire",
}
"""The only place that knows which class speaks for which kind."""


@cache
def wire(kind: str) -> Wire:
    """Return the wire of a kind of provider; one instance serves all.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise ConfigError(f"unknown kind of provider {kind!r}, known are {known}", key="kind")
    module, _, name = KINDS[kind].partition(":")
    found: Wire = getattr(import_module(module), name)()
    return found
