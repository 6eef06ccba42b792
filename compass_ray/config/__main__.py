"""`python -m compass_ray.config`: check the configuration that would be used here."""

import sys

from compass_ray.config import load
from compass_ray.types.errors import ConfigError


def main() -> int:
    """Say in one line what is configured, or what is wrong with it (exit status 2)."""
    try:
        settings = load()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"ok: {len(settings.providers)} providers, {len(settings.endpoints)} endpoints, "
        f"{len(settings.accounts)} accounts, {len(settings.callers)} keys\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
