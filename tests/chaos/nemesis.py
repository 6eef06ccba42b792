"""Which fault happens when: a seeded schedule. Pure; `World.do` carries a deed out."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

KILLS = ("LedgerActor", "BreakerActor", "ServeReplica", "ProviderActor", "MetricsHub")
"""Processes that may be killed (SIGKILL), by what their titles begin with."""

PAUSES = ("LedgerActor", "BreakerActor", "ServeReplica")
"""Processes that may be stopped for a while (SIGSTOP, then SIGCONT)."""

PROVIDERS = ("openai", "anthropic", "google")

FAULTS: dict[str, dict[str, object]] = {
    "500": {"error": 500},
    "overloaded": {"error": 529},
    "rate limited": {"error": {"status": 429, "retry_after": 1}},
    "refused key": {"error": 401},
    "reset": {"fault": "reset"},
    "cut": {"fault": {"cut_after_chunks": 2}},
    "cut in a line": {"fault": {"cut_after_bytes": 300}},
    "stall": {"fault": {"stall_after_chunks": 2, "seconds": 30}},
    "blackhole": {"fault": "blackhole"},
    "not json": {"fault": "not_json"},
    "html": {"fault": "html"},
    "error in 200": {"fault": "error_in_200"},
    "no usage": {"fault": "no_usage"},
    "absurd usage": {"fault": "absurd_usage"},
    "no done": {"fault": "no_done"},
    "slow": {"ttft_s": 1.5},
}
"""What a provider may do, as the simulator's script says it."""

_SHARES = (1.0, 0.5, 0.1)


@dataclass(frozen=True, slots=True)
class Deed:
    """One fault, at so many seconds since the run began; `lasts` is 0 where it is done at once."""

    at: float
    kind: str
    """kill, pause, or provider."""
    target: str
    lasts: float = 0.0
    fault: str = ""
    share: float = 1.0
    """Of the provider's requests."""

    def __str__(self) -> str:
        """Return it in words."""
        if self.kind != "provider":
            return f"{self.kind} {self.target}"
        return f"{self.target}: {self.fault} for {self.share:.0%} of requests, {self.lasts:.1f} s"


def schedule(seed: int, begin: float, end: float, every: float = 2.0) -> list[Deed]:
    """Return deeds between `begin` and `end`, one about each `every` seconds.

    Every kind of kill happens before any happens twice, and so for pauses and providers' faults;
    the provider that fails changes, so that two of three are well at any time.
    """
    chance = random.Random(f"nemesis:{seed}")
    kills, pauses, faults = _rounds(chance, KILLS), _rounds(chance, PAUSES), _rounds(chance, FAULTS)
    deeds: list[Deed] = []
    at, busy_until = begin, begin
    while at < end:
        kind = chance.choice(("kill", "kill", "pause", "provider", "provider"))
        if kind == "provider" and at < busy_until:
            kind = "kill"
        if kind == "kill":
            deeds.append(Deed(at, kind, next(kills)))
        elif kind == "pause":
            deeds.append(Deed(at, kind, next(pauses), lasts=chance.uniform(0.5, 2.5)))
        else:
            lasts = min(chance.uniform(1.0, 5.0), end - at)
            busy_until = at + lasts
            target, share = chance.choice(PROVIDERS), chance.choice(_SHARES)
            deeds.append(Deed(at, kind, target, lasts, next(faults), share))
        at += chance.uniform(0.5, 1.5) * every
    return deeds


def _rounds(chance: random.Random, names: Iterable[str]) -> Iterator[str]:
    while True:
        some = list(names)
        chance.shuffle(some)
        yield from some
