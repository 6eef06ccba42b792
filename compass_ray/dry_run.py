"""What would be chosen: asked of a gateway, decided here, or decided again of recorded traffic."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.learned import shipped_model
from compass_ray.policy.classify import classify
from compass_ray.policy.rescore import Comparison, Recorded, compare, reweighted
from compass_ray.policy.retell import table_of
from compass_ray.policy.select import Catalogue, Conditions, explain, select
from compass_ray.policy.worth import worth_its_price
from compass_ray.rules import chosen_rules
from compass_ray.settings import Settings
from compass_ray.storage.decisions import recorded
from compass_ray.types.errors import ConfigError
from compass_ray.types.settings import first_set

_TIMEOUT = 30.0


def ask(url: str, key: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the gateway at `url` says to `POST /api/v1/route`.

    Raises:
        ConfigError: it does not answer, or refuses.
    """
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        response = httpx.post(
            f"{url.rstrip('/')}/api/v1/route", json=body, headers=headers, timeout=_TIMEOUT
        )
        said = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        word = type(exc).__name__
        raise ConfigError(
            f"no gateway at {url} ({word}); --local decides by the configuration alone"
        ) from None
    told: dict[str, Any] = said if isinstance(said, dict) else {}
    if response.is_success and "candidates" in told:
        return told
    error = told.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    raise ConfigError(f"{url} refuses: {message or response.status_code}")


def decide(
    settings: Settings, environ: Mapping[str, str], body: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the decision of a gateway at its start: all healthy, nothing spent, nothing learned.

    Raises:
        InvalidRequest, UnknownModel, ConfigError
    """
    request = parse(json.dumps(body).encode(), Limits())
    model = shipped_model() if settings.learned else None
    seen = classify(request, chosen_rules(settings.rules), model=model)
    catalogue = Catalogue(settings.endpoints)
    seen = worth_its_price(request, seen, catalogue, settings.plan.frugality)
    missing = {
        spec.name: f"provider not configured: set {' or '.join(spec.all_key_names)}"
        for spec in settings.providers
        if spec.all_key_names and not first_set(environ, spec.all_key_names)
    }
    conditions = Conditions(unavailable=missing)
    return explain(select(request, seen, catalogue, conditions, settings.plan.weights))


def simulate(settings: Settings, weights: str, file: Path | None) -> Comparison:
    """Return what `weights`, such as `cost=0.4,latency=0.1`, would change in recorded traffic.

    `file` is the Learner's; by default the one in the state folder.

    Raises:
        ConfigError: the weights are none, or there are no decisions.
    """
    try:
        wanted = reweighted(settings.plan.weights, _named(weights))
    except ValueError as error:
        raise ConfigError(str(error), key="--weights") from None
    source = file or settings.server.state_dir / "decisions.db"
    if not source.is_file():
        raise ConfigError(f"there are no decisions at {source}")
    rows = ((json.loads(words), scores) for words, scores in recorded(source))
    return compare((Recorded(table_of(*row), row[0]["asked_tier"]) for row in rows), wanted)


def _named(told: str) -> dict[str, float]:
    named: dict[str, float] = {}
    for one in told.split(","):
        name, _, value = (part.strip() for part in one.partition("="))
        if name in named:
            raise ValueError(f"{name} is given twice")
        try:
            named[name] = float(value)
        except ValueError:
            raise ValueError(f"{one.strip()!r} is not like cost=0.4") from None
    return named
