"""The shipped models files: their facts agree with each other and with the document's tables."""

from datetime import date
from importlib import resources
from typing import get_args

import pytest
import yaml

from compass_ray.providers.registry import wire
from compass_ray.types.routing import Capability

DATA = resources.files("compass_ray") / "data"
SKILLS = {"reasoning", "coding", "creative", "math", "multilingual", "vision", "function_calling"}
PRICES = {"input", "output", "cached_input", "cache_write", "batch"}


def load(file):
    return yaml.safe_load((DATA / file).read_text(encoding="utf-8"))


CATALOGUE, LEGACY = load("catalogue.yaml"), load("legacy_models.yaml")
MODELS = CATALOGUE["models"] | LEGACY["models"]
EMBEDDERS = {name: model for name, model in MODELS.items() if "embedding" in model}
CHATS = {name: model for name, model in MODELS.items() if "embedding" not in model}


@pytest.mark.parametrize("name", CHATS)
def test_a_models_facts_are_of_their_kind(name):
    model = MODELS[name]

    assert set(model) == {
        *("tier", "context_window", "max_output_tokens", "capabilities", "skills", "endpoints")
    }
    assert model["tier"] in {1, 2, 3, 4}
    assert 0 < model["max_output_tokens"] <= model["context_window"]
    assert set(model["capabilities"]) <= set(get_args(Capability))
    assert set(model["skills"]) <= SKILLS
    assert all(1 <= stars <= 5 for stars in model["skills"].values())
    assert ("vision" in model["skills"]) >= ("vision" in model["capabilities"])


@pytest.mark.parametrize("name", CHATS)
def test_an_endpoints_facts_are_of_their_kind(name):
    endpoints = MODELS[name]["endpoints"]

    assert endpoints
    places = [(one["provider"], one.get("region", "")) for one in endpoints]
    assert len(set(places)) == len(places)
    for one in endpoints:
        assert {"input", "output"} <= set(one["price"]) <= PRICES
        assert one["price"]["input"] <= one["price"]["output"]
        assert (one["price"]["output"] > 0) == (one["provider"] != "local")
        assert 0 < one["expected_ttft"] < 5
        assert 0 < one["expected_tpot"] < 0.1


@pytest.mark.parametrize("name", EMBEDDERS)
def test_the_facts_of_embeddings_are_of_their_kind(name):
    model = MODELS[name]

    assert set(model) == {"tier", "context_window", "embedding", "endpoints"}
    assert (model["tier"], model["context_window"] <= 8192) == (4, True)
    assert model["embedding"].keys() <= {"dimensions", "shortens"}
    assert 256 <= model["embedding"]["dimensions"] <= 4096
    for one in model["endpoints"]:
        assert wire(one["provider"]).embedder is not None
        assert (one["provider"] == "huggingface") == ("price" not in one)
        assert one.get("price", {"output": 0})["output"] == 0
        assert 0 < one["expected_ttft"] < 5


def test_every_tier_and_the_local_model_are_in_the_catalogue():
    assert {model["tier"] for model in CATALOGUE["models"].values()} == {1, 2, 3, 4}
    assert CATALOGUE["models"]["smollm2-135m-instruct"]["endpoints"][0]["provider"] == "local"
    assert isinstance(CATALOGUE["as_of"], date)
    assert not set(CATALOGUE["models"]) & set(LEGACY["models"])


@pytest.mark.parametrize(
    ("name", "stars"),
    [
        ("gpt-4", (5, 5, 5, 4, 4, 5, 5)),
        ("claude-3-opus", (5, 5, 5, 4, 5, 4, 4)),
        ("gpt-3.5-turbo", (4, 4, 4, 3, 4, None, 5)),
        ("claude-3-sonnet", (4, 4, 5, 4, 4, 3, 4)),
        ("claude-3-haiku", (3, 3, 3, 3, 4, None, 3)),
    ],
)
def test_the_documents_models_have_its_stars(name, stars):
    names = (
        *("reasoning", "coding", "creative", "math", "multilingual", "vision"),
        "function_calling",
    )

    assert tuple(LEGACY["models"][name]["skills"].get(skill) for skill in names) == stars


def test_prices_fall_with_the_tier():
    cheapest = {
        tier: min(
            one["price"]["output"]
            for model in CATALOGUE["models"].values()
            if model["tier"] == tier
            for one in model["endpoints"]
            if one["provider"] in {"openai", "anthropic", "google"}
        )
        for tier in (1, 2, 3)
    }

    assert cheapest[1] > cheapest[2] > cheapest[3]
