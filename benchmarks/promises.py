"""The bars that Compass is held to, judged on one run. Pure: no clock, no I/O."""

from collections.abc import Mapping

from benchmarks.figures import Bar, Rounds, added, added_ratio, ratio


def bars(rounds: Rounds, memory: Mapping[str, Mapping[str, float]]) -> list[Bar]:
    """Return the bars that this run can judge: those whose systems took part."""
    systems = set(rounds[0])
    if "compass" not in systems:
        return []
    latency = ("json-1", "latency_p50_ms")
    call = added(rounds, "compass", "direct", *latency)
    found = [Bar("added to a call, p50, 1 caller", call, 1.5, "ms")]
    if "litellm" in systems:
        share = added_ratio(rounds, "compass", "litellm", *latency, base="direct")
        throughput = ratio(rounds, "compass", "litellm", "json-64", "per_second")
        found += [
            Bar("the same, as a share of what LiteLLM adds", share, 0.1, ""),
            Bar("requests/s of LiteLLM, 64 callers", throughput, 15.0, "x", at_least=True),
        ]
    ttft = added(rounds, "compass", "direct", "sse-16", "ttft_p50_ms")
    delay = added(rounds, "compass", "direct", "sse-16", "chunk_delay_p50_ms")
    found += [
        Bar("added to the first chunk, p50, 16 streams", ttft, 3.0, "ms"),
        Bar("added to every chunk, p50, 16 streams", delay, 0.3, "ms"),
    ]
    if "compass" in memory:
        found.append(Bar("memory of a replica", memory["compass"]["worker_rss_mb"], 200.0, "MB"))
    return found
