"""What settings say about each other: names that must exist, and things that must not be twice.

Reads the tree, not the checked settings, so that these problems are told together with those of
shape; what has the wrong shape is passed over. Pure.
"""

from collections.abc import Iterator, Mapping

from compass_ray.config.fields import check_url
from compass_ray.config.globs import matches_any
from compass_ray.config.tree import Node, Place, Problem, Source, shown, suggestion
from compass_ray.providers.registry import KINDS, wire
from compass_ray.types.accounts import PROVIDER

_RESERVED_MODEL = "auto"
_LAST = 1_000_000
"""Rank of the variables that are no settings themselves: their problems come last."""


def check(tree: Node, env: Mapping[str, str]) -> list[Problem]:
    """Return all that does not fit together."""
    return [
        *_models(tree),
        *_accounts(tree),
        *_cycles(tree),
        *_keys(tree),
        *_addresses(tree, env),
        *_unpriced(tree),
    ]


def _models(tree: Node) -> Iterator[Problem]:
    spelled: dict[str, str] = {}
    for name, model in tree.entries("models").items():
        path = ("models", name)
        if name.lower() == _RESERVED_MODEL:
            yield Problem(model.place, path, f"{_RESERVED_MODEL!r} asks Compass to choose")
        other = spelled.setdefault(name.lower(), name)
        if other != name:
            yield Problem(model.place, path, f"differs from {shown(other)!r} in case only")
        yield from _endpoints(tree, name)


def _endpoints(tree: Node, model: str) -> Iterator[Problem]:
    providers = tree.entries("providers")
    taken = set()
    for n, endpoint in enumerate(tree.items("models", model, "endpoints")):
        path = ("models", model, "endpoints", n)
        provider = endpoint.text("provider")
        if provider is None:
            continue
        if provider not in providers and not endpoint.place.source.shipped:
            at = endpoint.nearest(("provider",)).place
            word = f"unknown provider {shown(provider)!r}{suggestion(provider, providers)}"
            yield Problem(at, (*path, "provider"), word)
        embeds = tree.at(("models", model, "embedding"))
        if embeds is not None and embeds.value is not None and _makes_none(tree, provider):
            at = endpoint.nearest(("provider",)).place
            yield Problem(at, (*path, "provider"), f"{shown(provider)} makes no embeddings")
        place = (provider.lower(), (endpoint.text("region") or "").lower())
        if place in taken:
            where = "provider and region" if place[1] else "provider; give each a region"
            yield Problem(endpoint.place, path, f"is the second with this {where}")
        taken.add(place)


def _makes_none(tree: Node, provider: str) -> bool:
    """Return whether a provider's kind makes no embeddings; what is no kind is said elsewhere."""
    one = tree.entries("providers").get(provider)
    kind = None if one is None else one.text("kind")
    return kind in KINDS and wire(kind).embedder is None


def _accounts(tree: Node) -> Iterator[Problem]:
    accounts = tree.entries("accounts")
    for name, account in accounts.items():
        path = ("accounts", name)
        if name.startswith(PROVIDER):
            yield Problem(account.place, path, f"{PROVIDER!r} begins the limits of providers")
        parent = account.text("parent")
        if parent is not None and parent not in accounts:
            word = f"unknown account {shown(parent)!r}{suggestion(parent, accounts)}"
            yield Problem(account.entries()["parent"].place, (*path, "parent"), word)
        for n, glob in enumerate(account.items("allowed_models")):
            if isinstance(glob.value, str) and not matches_any(glob.value, tree):
                at = (*path, "allowed_models", n)
                yield Problem(glob.place, at, f"no model is like {shown(glob.value)!r}")


def _cycles(tree: Node) -> Iterator[Problem]:
    accounts = tree.entries("accounts")
    done: set[str] = set()
    for start in accounts:
        above: dict[str, None] = {}
        name: str | None = start
        while name is not None and name in accounts and name not in done:
            if name in above:
                order = list(above)
                circle = order[order.index(name) :]
                word = " -> ".join(shown(one) for one in (*circle, name))
                at = accounts[name].entries()["parent"].place
                yield Problem(at, ("accounts", name, "parent"), f"goes round in a circle: {word}")
                break
            above[name] = None
            name = accounts[name].text("parent")
        done.update(above)


def _keys(tree: Node) -> Iterator[Problem]:
    accounts = tree.entries("accounts")
    seen: dict[tuple[str, str], int] = {}
    for n, key in enumerate(tree.items("keys")):
        path = ("keys", n)
        account = key.text("account")
        if account is not None and account not in accounts:
            at = key.entries()["account"].place
            word = f"unknown account {shown(account)!r}{suggestion(account, accounts)}"
            yield Problem(at, (*path, "account"), word)
        for field in ("name", "hash"):
            value = key.text(field)
            if value is None:
                continue
            first = seen.setdefault((field, value.lower()), n)
            if first != n:
                at = key.entries()[field].place
                yield Problem(at, (*path, field), f"is the same as that of keys[{first}]")


def _unpriced(tree: Node) -> Iterator[Problem]:
    """Look for endpoints without a price where a provider's money is limited."""
    periods = ("day", "month", "lifetime")
    limited = {
        name: provider
        for name, provider in tree.entries("providers").items()
        if any(provider.at(("budget", period, "usd")) is not None for period in periods)
        and getattr(provider.at(("enabled",)), "value", True) is not False
    }
    for model in tree.entries("models") if limited else ():
        for endpoint in tree.items("models", model, "endpoints"):
            name = endpoint.text("provider") or ""
            price = endpoint.at(("price",))
            if name in limited and (price is None or price.value is None):
                at = limited[name].nearest(("budget",)).place
                word = f"cannot hold for {shown(model)}, which has no price there"
                yield Problem(at, ("providers", name, "budget"), word)


def _addresses(tree: Node, env: Mapping[str, str]) -> Iterator[Problem]:
    """Look at the variables that replace a base URL: they may hold a password too."""
    for name, provider in tree.entries("providers").items():
        enabled = provider.at(("enabled",))
        if enabled is not None and enabled.value is False:
            continue
        for n, variable in enumerate(provider.items("base_url_env")):
            if not isinstance(variable.value, str) or not env.get(variable.value, "").strip():
                continue
            try:
                check_url(env[variable.value].strip())
            except ValueError as exc:
                source = Source(
                    _LAST, f"environment variable {variable.value}", provider.place.source.folder
                )
                yield Problem(Place(source), ("providers", name, "base_url_env", n), str(exc))
