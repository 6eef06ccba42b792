"""Which models a pattern like `gpt-*` or `openai/*` means. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from compass_ray.config.tree import Node
from compass_ray.types.routing import Endpoint


def matches(glob: str, endpoint: Endpoint) -> bool:
    """Return whether `glob` means this endpoint: by model, provider/model or endpoint id."""
    names = {endpoint.model, f"{endpoint.provider}/{endpoint.model}", endpoint.id}
    return _any(glob, names)


def matches_any(glob: str, tree: Node) -> bool:
    """Return whether `glob` means any endpoint there is, in service or not."""
    return _any(glob, _names(tree))


def _names(tree: Node) -> Iterable[str]:
    for model in tree.entries("models"):
        yield model
        for endpoint in tree.items("models", model, "endpoints"):
            provider, region = endpoint.text("provider"), endpoint.text("region")
            yield f"{provider}/{model}"
            yield f"{provider}/{model}@{region}"


def _any(glob: str, names: Iterable[str]) -> bool:
    wanted = glob.lower()
    return any(fnmatchcase(name.lower(), wanted) for name in names)
