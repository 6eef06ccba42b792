"""Which public rows, and whose answers, a model that is given away may be trained on."""

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


ANSWERS = {
    "Mistral-Nemo-Instruct-2407": "Apache-2.0",
    "Mixtral-8x7B-Instruct-v0.1": "Apache-2.0",
    "Phi-3-mini-4k-instruct": "MIT",
    "Phi-3.5-mini-instruct": "MIT",
    "Qwen2-7B-Instruct": "Apache-2.0",
    "Qwen2.5-7B-Instruct": "Apache-2.0",
    "Qwen2.5-32B-Instruct": "Apache-2.0",
    "Yi-1.5-9B-Chat": "Apache-2.0",
    "Yi-1.5-34B-Chat": "Apache-2.0",
}
"""Models whose licences do not restrict what is made of their answers, as WildEval/ZeroEval
(Apache-2.0) holds them, to questions of GSM8K and MATH (MIT)."""
