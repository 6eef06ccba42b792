import pytest

from compass_ray.config.local_models import load_local_models
from compass_ray.types.errors import ConfigError

LLAMA = {"name": "llama", "source": "meta-llama/Llama-3.1-8B-Instruct"}


def test_a_name_and_a_source_are_enough():
    (model,) = load_local_models({"models": [LLAMA]})

    assert (model.num_gpus, model.min_replicas, model.max_replicas) == (1, 0, 1)
    assert model.called == ("llama",)


@pytest.mark.parametrize(
    ("models", "key", "words"),
    [
        ([], "models", "at least 1"),
        ([{"name": "llama"}], "models[0].source", "is missing"),
        ([LLAMA | {"num_gpu": 1}], "models[0].num_gpu", "did you mean 'num_gpus'"),
        ([LLAMA | {"num_gpus": -1}], "models[0].num_gpus", "at least 0"),
        ([LLAMA | {"tensor_parallel": 2}], "models[0]", "as many num_gpus"),
        ([LLAMA | {"min_replicas": 2}], "models[0]", "min_replicas exceeds"),
        ([LLAMA | {"engine": {"model": "x"}}], "models[0]", "engine.model follows"),
        ([LLAMA, LLAMA], "", "'llama' is given twice"),
        ([LLAMA | {"adapters": {"llama": "/a"}}], "", "'llama' is given twice"),
    ],
)
def test_a_mistake_is_named_by_its_key(models, key, words):
    with pytest.raises(ConfigError) as raised:
        load_local_models({"models": models})

    assert words in str(raised.value)
    assert (raised.value.key or "") == key


def test_on_the_cpu_processes_may_share_the_work():
    (model,) = load_local_models({"models": [LLAMA | {"num_gpus": 0, "tensor_parallel": 2}]})

    assert model.tensor_parallel == 2
