"""From checked settings to the values that the rest of the program works with."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from compass_ray.config import schema, spending, upstream
from compass_ray.config.globs import matches
from compass_ray.config.keys import PREFIX
from compass_ray.config.plans import experiments, plan, plans
from compass_ray.config.tree import KeyPath, Node, Problem, report
from compass_ray.policy.breaker import BreakerConfig
from compass_ray.policy.concurrency import Bounds
from compass_ray.policy.idempotency import Keep
from compass_ray.policy.ladder import Escalation
from compass_ray.policy.retry import RetryPolicy
from compass_ray.rules import parse_rules, read_rules
from compass_ray.settings import Settings
from compass_ray.types.accounts import PROVIDER, Account, Caller, Limit, Period
from compass_ray.types.routing import TIERS, Embedding, Endpoint, Tier
from compass_ray.types.settings import (
    AlertSettings,
    BatchSettings,
    EngineSettings,
    ProviderSpec,
    RulesFile,
    ServerSettings,
    TimeoutSettings,
    WebhookSettings,
)
from compass_ray.types.usage import Price

OPEN_ACCOUNT = "open"
"""Pays for everybody while no keys are configured."""


def build(config: schema.Config, tree: Node, env: Mapping[str, str]) -> Settings:
    """Return the settings in their final form; `tree` says where relative paths start.

    Raises:
        ConfigError: a path cannot be used, or the rules file is not sound.
    """
    endpoints = tuple(_endpoints(config))
    allowed = {name: _allowed(name, config.accounts, endpoints) for name in config.accounts}
    return Settings(
        server=_server(config.server, tree, env),
        providers=tuple(
            _provider(name, one, tree) for name, one in config.providers.items() if one.enabled
        ),
        endpoints=endpoints,
        prices_as_of=config.as_of,
        accounts=dict(_accounts(config)),
        callers={
            bytes.fromhex(key.hash.removeprefix(PREFIX)): Caller(
                key.name, key.account, allowed[key.account], key.admin, key.metrics
            )
            for key in config.keys
        },
        anonymous=Caller(OPEN_ACCOUNT, OPEN_ACCOUNT, allowed[OPEN_ACCOUNT], admin=True),
        alerts=AlertSettings(tuple(sorted(set(config.alerts.at))), config.alerts.webhook),
        plan=plan(config.routing),
        plans=plans(config.routing, config.accounts),
        experiments=experiments(config.routing),
        rules=_rules(config.routing.rules, tree),
        learned=config.routing.learned,
        learning=config.routing.learning,
        explore=config.routing.explore,
        drift=config.routing.drift,
        keep_decisions=config.routing.decisions.keep,
        escalation=_escalation(config.routing.escalation, endpoints, tree),
        adaptive=dict(_adaptive(config.providers)),
        breaker=_breaker(config.breaker),
        retry=RetryPolicy(
            max_attempts=config.retry.max_attempts,
            backoff_base=config.retry.backoff_base_s,
            backoff_max=config.retry.backoff_max_s,
            budget=config.retry.budget,
            budget_floor=config.retry.budget_floor,
            hedge_after=config.retry.hedge_after_s,
        ),
        idempotency=Keep(config.idempotency.keep_hours * 3600, config.idempotency.keep_bytes),
        batches=BatchSettings(
            max_file_bytes=config.batches.max_file_bytes,
            max_stored_bytes=config.batches.max_stored_bytes,
            max_requests=config.batches.max_requests,
            parallel=config.batches.parallel,
            keep_seconds=config.batches.keep_days * 86_400,
        ),
        webhooks=_webhooks(config.workflows.webhooks, config.accounts),
    )


def _server(server: schema.Server, tree: Node, env: Mapping[str, str]) -> ServerSettings:
    return ServerSettings(
        max_body_bytes=server.max_body_bytes,
        max_messages=server.max_messages,
        max_tools=server.max_tools,
        max_n=server.max_n,
        max_output_tokens=server.max_output_tokens,
        max_parallel_requests=server.max_parallel_requests,
        request_timeout=server.request_timeout_s,
        reader_timeout=server.reader_timeout_s,
        log_requests=server.log_requests,
        log_prompts=server.log_prompts,
        state_dir=_path(tree, ("server", "state_dir"), server.state_dir) or _state_dir(env),
    )


def _state_dir(env: Mapping[str, str]) -> Path:
    state = Path(env.get("XDG_STATE_HOME", ""))
    home = state if state.is_absolute() else Path.home() / ".local" / "state"
    return home / "compass"


def _provider(name: str, provider: upstream.Provider, tree: Node) -> ProviderSpec:
    times = provider.timeouts
    engine = None
    if provider.kind == "local":
        said = provider.engine or upstream.Engine()
        place = ("providers", name, "engine", "model_path")
        model_path = _path(tree, place, said.model_path)
        engine = EngineSettings(model_path, said.threads, said.context, said.parallel)
    return ProviderSpec(
        name=name,
        kind=provider.kind,
        base_url=provider.base_url or "",
        base_url_names=tuple(provider.base_url_env),
        key_names=tuple(provider.key_env),
        more_key_names=tuple(provider.more_keys_env),
        timeouts=TimeoutSettings(times.connect_s, times.first_byte_s, times.idle_s, times.total_s),
        max_parallel=provider.limits.max_parallel,
        engine=engine,
        api_version=provider.api_version or "",
        api_version_names=tuple(provider.api_version_env),
    )


def _adaptive(providers: Mapping[str, upstream.Provider]) -> Iterator[tuple[str, Bounds]]:
    for name, provider in providers.items():
        said = provider.limits.adaptive
        if said is not None and provider.enabled:
            yield name, Bounds(said.floor, said.ceiling, said.wait_s)


def _endpoints(config: schema.Config) -> Iterator[Endpoint]:
    """Yield those whose provider is in use; the catalogue knows more providers than most have."""
    in_use = {name for name, provider in config.providers.items() if provider.enabled}
    for name, model in config.models.items():
        if model is None:
            continue
        for one in model.endpoints:
            if one.provider in in_use:
                yield Endpoint(
                    provider=one.provider,
                    model=name,
                    wire_model=one.wire_model,
                    tier=TIERS[str(model.tier)],
                    context_window=model.context_window,
                    max_output_tokens=model.max_output_tokens or 0,
                    capabilities=frozenset(model.capabilities),
                    price=None if one.price is None else _price(one.price),
                    skills={str(skill): stars for skill, stars in model.skills.items()},
                    region=one.region,
                    expected_ttft=one.expected_ttft,
                    expected_tpot=one.expected_tpot,
                    embedding=None
                    if model.embedding is None
                    else Embedding(**dict(model.embedding)),
                )


def _price(said: upstream.Price) -> Price:
    price = Price(**dict(said) | {"batch": None})
    if said.batch is None:
        return price
    return replace(price, batch=price.times(Fraction(str(said.batch))))


def _accounts(config: schema.Config) -> Iterator[tuple[str, Account]]:
    """Yield the callers' accounts, and those that hold the limits of providers."""
    for name, one in config.accounts.items():
        yield name, Account(name, one.parent, tuple(_limits(one.budget, one.rates)))
    for name, provider in config.providers.items():
        limits = tuple(_limits(provider.budget, provider.rates))
        if limits and provider.enabled:
            yield PROVIDER + name, Account(PROVIDER + name, None, limits)


def _limits(budget: spending.Budget | None, rates: spending.Rates | None) -> Iterator[Limit]:
    if budget is not None:
        yield from _allowed_in("day", budget.day, budget.time_zone)
        yield from _allowed_in("month", budget.month, budget.time_zone)
        yield from _allowed_in("lifetime", budget.lifetime, budget.time_zone)
    if rates is not None:
        if rates.requests_per_minute is not None:
            yield Limit(rates.requests_per_minute, "minute", "requests")
        if rates.tokens_per_minute is not None:
            yield Limit(rates.tokens_per_minute, "minute", "tokens")
        if rates.parallel is not None:
            yield Limit(rates.parallel, "lifetime", "parallel")


def _allowed_in(period: Period, allowance: spending.Allowance | None, zone: str) -> Iterator[Limit]:
    if allowance is not None:
        if allowance.usd is not None:
            yield Limit(allowance.usd, period, "usd", zone)
        if allowance.tokens is not None:
            yield Limit(allowance.tokens, period, "tokens", zone)
        if allowance.requests is not None:
            yield Limit(allowance.requests, period, "requests", zone)


def _webhooks(
    said: schema.Webhooks, accounts: Mapping[str, spending.AccountEntry]
) -> WebhookSettings:
    own: dict[str, tuple[str, ...]] = {}
    for name in accounts:
        above: str | None = name
        while above is not None:
            if (names := accounts[above].webhook_secret_env) is not None:
                own[name] = tuple(names)
                break
            above = accounts[above].parent
    return WebhookSettings(tuple(said.allow), tuple(said.secret_env), own)


def _escalation(
    said: schema.Escalation, endpoints: tuple[Endpoint, ...], tree: Node
) -> Escalation | None:
    if said.judge is not None and said.judge not in {one.id for one in endpoints}:
        key = ("routing", "escalation", "judge")
        raise report([Problem(tree.nearest(key).place, key, "names no endpoint that is in use")])
    if said.mode == "off":
        return None
    return Escalation(
        always=said.mode == "on",
        below={Tier.FAST: said.fast_below, Tier.BALANCED: said.balanced_below},
        judge=said.judge,
        verifier=said.verifier,
        above=said.premium_above,
        dear=said.dear_usd,
    )


def _allowed(
    name: str, accounts: Mapping[str, spending.AccountEntry], endpoints: tuple[Endpoint, ...]
) -> frozenset[str] | None:
    """Return the endpoint ids that the account and all above it allow; None where none says."""
    allowed: frozenset[str] | None = None
    above: str | None = name
    while above is not None:
        globs = accounts[above].allowed_models
        if globs is not None:
            own = frozenset(
                one.id for one in endpoints if any(matches(glob, one) for glob in globs)
            )
            allowed = own if allowed is None else allowed & own
        above = accounts[above].parent
    return allowed


def _breaker(breaker: schema.Breaker) -> BreakerConfig:
    return BreakerConfig(
        failure_rate=breaker.failure_rate,
        window=breaker.window_s,
        min_volume=breaker.min_volume,
        consecutive_failures=breaker.consecutive_failures,
        cooldowns=tuple(breaker.cooldowns_s),
        probes=breaker.probes,
        successes_to_close=breaker.successes_to_close,
    )


def _rules(name: str | None, tree: Node) -> RulesFile | None:
    file = _path(tree, ("routing", "rules"), name)
    if file is None:
        return None
    try:
        text = read_rules(file)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "is not UTF-8"
        place = tree.nearest(("routing", "rules")).place
        raise report([Problem(place, ("routing", "rules"), reason.lower())]) from exc
    parse_rules(text, str(file))
    return RulesFile(str(file), text)


def _path(tree: Node, key: KeyPath, written: str | None) -> Path | None:
    """Return the absolute path; a relative one starts at the file it is written in."""
    if written is None:
        return None
    place = tree.nearest(key).place
    try:
        path = Path(written).expanduser()
        return (place.source.folder / path).absolute()
    except (RuntimeError, ValueError) as exc:
        raise report([Problem(place, key, "names a home folder that is not there")]) from exc
