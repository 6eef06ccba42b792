"""The configuration of Compass: one documented shape, many sources, checked as a whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compass_ray.config.build import OPEN_ACCOUNT, build
from compass_ray.config.check import check
from compass_ray.config.keys import hash_key, new_key
from compass_ray.config.schema import Config, json_schema
from compass_ray.config.sources import gather
from compass_ray.config.tree import report
from compass_ray.config.validate import validate
from compass_ray.settings import Settings

__all__ = ["OPEN_ACCOUNT", "hash_key", "json_schema", "load", "new_key"]


def load(
    inline: Mapping[str, Any] | None = None,
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """Return the settings from all sources; see `config.sources` for which of them wins.

    Args:
        inline: the `args` of serve_config.yaml.
        env: holds COMPASS_CONFIG and COMPASS_<SECTION>__<KEY>; nothing is written to it.
        cwd: where ./compass.yaml is looked for; the working directory by default.

    Raises:
        ConfigError: names file, line and key of the first mistake, and lists all others.
    """
    tree = gather(inline, env, cwd or Path.cwd())
    config, problems = validate(tree, Config)
    problems += check(tree, env)
    if config is None or problems:
        raise report(problems)
    return build(config, tree, env)
