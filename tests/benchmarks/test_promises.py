from benchmarks.promises import bars


def a_round(latency, per_second, ttft=1.0, delay=0.1):
    return {
        "json-1": {"latency_p50_ms": latency},
        "json-64": {"per_second": per_second},
        "sse-16": {"ttft_p50_ms": ttft, "chunk_delay_p50_ms": delay},
    }


DIRECT = a_round(0.1, 90_000)


def test_every_bar_is_judged_when_all_systems_took_part():
    compass, litellm = a_round(0.6, 3000, ttft=2.5, delay=0.5), a_round(6.1, 150)

    judged = bars(
        [{"direct": DIRECT, "compass": compass, "litellm": litellm}],
        {"compass": {"worker_rss_mb": 250.0}},
    )

    assert [bar.met for bar in judged] == [True, True, True, True, False, False]
    assert [round(bar.measured, 3) for bar in judged] == [0.5, 0.083, 20.0, 1.5, 0.4, 250.0]


def test_a_run_without_litellm_judges_nothing_against_it():
    rounds = [{"direct": DIRECT, "compass": a_round(0.6, 3000)}]

    assert not any("LiteLLM" in bar.text for bar in bars(rounds, {}))


def test_a_run_without_compass_judges_nothing():
    assert bars([{"direct": DIRECT}], {}) == []
