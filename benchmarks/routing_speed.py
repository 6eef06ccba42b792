"""Time from a parsed request to an ordered list of candidates, on one core.

    python benchmarks/routing_speed.py [rounds]

Prints p50 and p99 in microseconds of classify, of select over the shipped catalogue with every
provider available and a budget to respect, and of both; for a 1,000-character prompt, and for
1 MB ones, some of them hostile.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns

from compass_ray.config import load
from compass_ray.learned import shipped_model
from compass_ray.policy.classify import classify
from compass_ray.policy.quality import QualityModel
from compass_ray.policy.select import Catalogue, Conditions, Weights, select
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Endpoint
from compass_ray.types.usage import MICRO

SENTENCE = (
    "Please compare the two approaches to caching in a distributed database, and explain step by "
    "step why the second gives a lower latency under load. "
)
MEGABYTE = 1_000_000
RULES, MODEL = shipped_rules(), shipped_model()


def main(rounds: int) -> None:
    catalogue = Catalogue(shipped_endpoints())
    print(f"{len(catalogue.endpoints)} endpoints; microseconds, p50 / p99")
    print(f"{'prompt':<31}{'classify':>18}{'select':>18}{'both':>18}")
    (first, short), *others = prompts()
    rows = [(f"{first}, rules alone", short, None), (first, short, MODEL)]
    for name, text, model in [*rows, *((name, text, MODEL) for name, text in others)]:
        request = asking(text)
        seen = classify(request, RULES, model=model)
        conditions, weights = Conditions(remaining=1_000 * MICRO), Weights()
        count = rounds if len(text) < MEGABYTE // 10 else max(20, rounds // 50)

        def classify_only(request: ChatRequest = request, model=model) -> object:  # noqa: ANN001
            return classify(request, RULES, model=model)

        def select_only(request: ChatRequest = request, seen=seen) -> object:  # noqa: ANN001
            return select(request, seen, catalogue, conditions, weights)  # noqa: B023

        figures = [
            percentiles(step, count) for step in (classify_only, select_only, deciding(text, model))
        ]
        print(f"{name:<31}" + "".join(f"{p50:>10,.0f} /{p99:>6,.0f}" for p50, p99 in figures))


def asking(text: str) -> ChatRequest:
    return ChatRequest(
        body={"model": "auto", "messages": [{"role": "user", "content": text}]},
        model="auto",
        text=text,
        last_user_text=text,
        needs=frozenset(),
        max_output_tokens=1_000,
        input_bytes=len(text.encode()) + 80,
    )


def deciding(text: str, model: QualityModel | None) -> Callable[[], object]:
    """Return what classifies and selects, over the shipped catalogue and within a budget."""
    request, catalogue = asking(text), Catalogue(shipped_endpoints())
    conditions, weights = Conditions(remaining=1_000 * MICRO), Weights()

    def decide() -> object:
        seen = classify(request, RULES, model=model)
        return select(request, seen, catalogue, conditions, weights)

    return decide


def percentiles(step: Callable[[], object], count: int) -> tuple[float, float]:
    """Return p50 and p99 in microseconds."""
    for _ in range(count // 10):
        step()
    times = []
    for _ in range(count):
        started = perf_counter_ns()
        step()
        times.append(perf_counter_ns() - started)
    times.sort()
    return times[count // 2] / 1e3, times[int(count * 0.99)] / 1e3


def prompts() -> Iterator[tuple[str, str]]:
    yield "1,000 characters", (SENTENCE * 8)[:1_000]
    yield "1,000 characters, Chinese", ("请比较这两种缓存方法。" * 100)[:1_000]
    for name, unit in (
        ("English", SENTENCE),
        ("Chinese", "请比较这两种缓存方法。"),
        ("one giant word", "a"),
        ("newlines", "\n"),
        ("every rule word", " ".join(rule_words()) + ". "),
    ):
        yield f"1 MB, {name}", (unit * (MEGABYTE // len(unit) + 1))[:MEGABYTE]


def rule_words() -> list[str]:
    """Return every word the rules look for: the most work a text can make."""
    return [word for words in RULES.lexicon.groups.values() for word in words]


def shipped_endpoints() -> tuple[Endpoint, ...]:
    return load({}, {}, Path(__file__).parent).endpoints


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000)
