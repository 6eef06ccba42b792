"""Provider actor: where one provider is reached, with which key, and whether it answers."""

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from compass_ray.actors.model_lists import Listing, ModelList, connect, describe, refused, unlisted
from compass_ray.actors.tokenizer import Tokenizer
from compass_ray.actors.watch import Versioned
from compass_ray.providers.base import Target
from compass_ray.types.settings import first_set
from compass_ray.types.status import ProviderKey, ProviderStatus

_log = logging.getLogger("compass.provider")


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What is configured for one provider.

    `kind` is how it is spoken to. Key, base URL and API version are read from the first of these
    environment variables that is set; without names there is no key, and what is here stands.
    """

    name: str
    kind: str
    base_url: str = ""
    """With /v1 for OpenAI's wire and Hugging Face's, without a version for the others."""
    key_names: tuple[str, ...] = ()
    base_url_names: tuple[str, ...] = ()
    api_version: str = ""
    api_version_names: tuple[str, ...] = ()
    more_key_names: tuple[str, ...] = ()
    """Of these every one that is set holds a further key."""
    interval: float = 30.0
    """Seconds between probes, give or take a tenth."""
    retry: float = 2.0
    """Seconds between probes while it does not answer, and where models start on demand."""
    timeout: float = 5.0


class ProviderActor:
    """Knows one provider's status; probes it while somebody asks.

    The key comes from this process's environment, and leaves it only in `ProviderStatus.key`,
    because replicas sign their calls with it. `engine_url` is asked for the base URL of a local
    provider; it returns None until the engine is up. `wall` is Unix seconds, `u` gives 0..1.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        engine_url: Callable[[], Awaitable[str | None]] | None = None,
        environ: Mapping[str, str] | None = None,
        wall: Callable[[], float] = time.time,
        u: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._engine_url = engine_url
        self._wall = wall
        self._u = u
        self._status = Versioned(
            _configured(settings, os.environ if environ is None else environ), wall
        )
        self._models: ModelList | None = None
        self._tokenizer = Tokenizer()
        self._turn = 0
        self._probing: asyncio.Task[None] | None = None
        self._on_demand = False

    async def status(self) -> ProviderStatus:
        """Return the latest status."""
        self._keep_probing()
        return self._status.value

    async def watch(self, version: int, wait: float) -> tuple[int, ProviderStatus]:
        """Return the status once its version is not `version`, or after `wait` seconds."""
        self._keep_probing()
        return await self._status.wait(version, wait)

    async def count(self, model: str, texts: tuple[str, ...]) -> int | None:
        """Return the tokens of `texts`; None for a model whose tokenizer is not known."""
        return await asyncio.to_thread(self._tokenizer.count, model, texts)

    async def probe(self) -> None:
        """List the models once and publish what that says."""
        status = self._status.value
        try:
            if self._engine_url is not None:
                status = await self._locate(status, self._engine_url)
            if not status.configured:
                self._publish(status)
                return
            listing = await self._listing(status)
        except Exception as exc:  # noqa: BLE001 - an SDK raises anything; its text may hold the key
            detail = "answers, but lists no models" if unlisted(exc) else describe(exc)
            self._publish(replace(status, healthy=unlisted(exc), detail=detail))
        else:
            starts = listing.starts or {}
            self._on_demand = listing.starts is not None
            not_yet = {name: seconds for name, seconds in starts.items() if seconds > 0}
            told = replace(status, healthy=True, detail="", models=listing.names, starts=not_yet)
            self._publish(told)

    async def close(self) -> None:
        """Stop probing and close the connections."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
            self._probing = None
        await self._forget_list()

    def _keep_probing(self) -> None:
        """Start the loop with the first question: a restarted actor has nobody to start it."""
        can_be_probed = self._engine_url is not None or self._status.value.configured
        if can_be_probed and (self._probing is None or self._probing.done()):
            self._probing = asyncio.create_task(self._probe_for_ever())

    async def _probe_for_ever(self) -> None:
        while True:
            await self.probe()
            settings = self._settings
            calm = self._status.value.healthy and not self._on_demand
            pause = settings.interval if calm else settings.retry
            await asyncio.sleep(pause * (0.9 + 0.2 * self._u()))

    async def _locate(
        self, status: ProviderStatus, engine_url: Callable[[], Awaitable[str | None]]
    ) -> ProviderStatus:
        async with asyncio.timeout(self._settings.timeout):
            url = await engine_url()
        if url != status.base_url:
            await self._forget_list()
        if not url:
            starting = "the engine is starting"
            return replace(status, configured=False, base_url="", healthy=False, detail=starting)
        return replace(status, configured=True, base_url=url)

    async def _listing(self, status: ProviderStatus) -> Listing:
        """Return the models; a key that is refused leaves the word to the next one."""
        for _ in status.keys[1:]:
            try:
                return await self._fetch(status)
            except Exception as exc:
                if not refused(exc):
                    raise
            self._turn += 1
            await self._forget_list()
        return await self._fetch(status)

    async def _fetch(self, status: ProviderStatus) -> Listing:
        models = await self._list(status)
        async with asyncio.timeout(self._settings.timeout):
            return await models.fetch()

    async def _list(self, status: ProviderStatus) -> ModelList:
        if self._models is None:
            keys = status.keys
            key = keys[self._turn % len(keys)].secret if keys else status.key
            target = Target(status.base_url, key, status.api_version)
            kind, timeout = self._settings.kind, self._settings.timeout
            self._models = await asyncio.to_thread(connect, kind, target, timeout)
        return self._models

    async def _forget_list(self) -> None:
        models, self._models = self._models, None
        if models is not None:
            await models.close()

    def _publish(self, status: ProviderStatus) -> None:
        if status.healthy != self._status.value.healthy:
            level = logging.INFO if status.healthy else logging.WARNING
            word = "healthy" if status.healthy else "unhealthy"
            _log.log(level, "provider %r is %s %s", status.name, word, status.detail)
        self._status.set(replace(status, checked_at=self._wall()))


def _configured(settings: ProviderSettings, environ: Mapping[str, str]) -> ProviderStatus:
    keys = _keys(settings, environ)
    base_url = first_set(environ, settings.base_url_names) or settings.base_url
    names = settings.key_names + settings.more_key_names
    lacks_key = bool(names) and not keys
    return ProviderStatus(
        name=settings.name,
        kind=settings.kind,
        configured=bool(base_url) and not lacks_key,
        base_url=base_url.rstrip("/"),
        waits_for=names if lacks_key else () if base_url else settings.base_url_names,
        key=keys[0].secret if keys else None,
        keys=keys if settings.more_key_names else (),
        api_version=first_set(environ, settings.api_version_names) or settings.api_version,
    )


def _keys(settings: ProviderSettings, environ: Mapping[str, str]) -> tuple[ProviderKey, ...]:
    """Return the first key of those that stand in for each other, and all further ones."""
    alone = [name for name in settings.key_names if first_set(environ, (name,))][:1]
    keys: dict[str, str] = {}
    for name in (*alone, *settings.more_key_names):
        if (secret := first_set(environ, (name,))) is not None:
            keys.setdefault(secret, name)
    return tuple(ProviderKey(name, secret) for secret, name in keys.items())
