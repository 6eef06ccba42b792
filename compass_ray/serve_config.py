"""Ray Serve's configuration file as `compass run` uses it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from compass_ray.types.errors import ConfigError

ServeConfig = Mapping[str, Any]
"""The file's content. `http_options` has `host` and `port`."""


def read(file: Path, port: int | None = None) -> ServeConfig:
    """Return the content of `file`; `port` replaces the one it names.

    Raises:
        ConfigError: it cannot be read, or is not a mapping.
    """
    try:
        config = yaml.safe_load(file.read_text())
    except OSError as exc:
        raise ConfigError(exc.strerror or str(exc), file=str(file)) from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"not YAML: {exc}", file=str(file)) from exc
    if not isinstance(config, dict):
        raise ConfigError("not a mapping", file=str(file))
    http = config.get("http_options") or {}
    if not isinstance(http, dict):
        raise ConfigError("not a mapping", file=str(file), key="http_options")
    applications = config.get("applications") or []
    if not (isinstance(applications, list) and all(isinstance(app, dict) for app in applications)):
        raise ConfigError("not a list of mappings", file=str(file), key="applications")
    address = {"host": "127.0.0.1", "port": 8000, **http}
    return {**config, "http_options": {**address, "port": port or address["port"]}}


def without_inherited(config: ServeConfig, environment: Mapping[str, str]) -> ServeConfig:
    """Return `config` without the variables that every process inherits from `environment`.

    An actor with a runtime environment waits about 2 seconds for a process of its own; without
    one it gets a process that Ray holds ready.
    """
    changed = {**config}
    if controller := config.get("controller_options"):
        changed["controller_options"] = _without_inherited(controller, environment)
    if applications := config.get("applications"):
        changed["applications"] = [_without_inherited(app, environment) for app in applications]
    return changed


def _without_inherited(
    options: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    runtime = {**(options.get("runtime_env") or {})}
    asked = runtime.pop("env_vars", None) or {}
    if own := {name: value for name, value in asked.items() if environment.get(name) != value}:
        runtime["env_vars"] = own
    others = {key: value for key, value in options.items() if key != "runtime_env"}
    return {**others, "runtime_env": runtime} if runtime else others
