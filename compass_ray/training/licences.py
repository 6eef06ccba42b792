"""Which public rows a model that is given away may be trained on."""

LICENCES = {
    "routellm:mmlu": "MIT (MMLU; outcomes of lm-sys/RouteLLM, Apache-2.0)",
    "routellm:gsm8k": "MIT (GSM8K; outcomes of lm-sys/RouteLLM, Apache-2.0)",
    "zeroeval": "Apache-2.0 and MIT (WildEval/ZeroEval)",
    "mmlupro": "MIT (MMLU-Pro)",
    "llmrouter": "MIT (LLMRouter)",
}
"""By source, or source and dataset; the licence of any other row does not allow it."""


def clean(source: str, dataset: str) -> bool:
    """Return whether the licence of a row lets a model trained on it be given away."""
    return source in LICENCES or f"{source}:{dataset}" in LICENCES
