import pytest

from compass_ray.config import load
from compass_ray.types.errors import ConfigError


@pytest.fixture
def loaded(tmp_path):
    """Load settings from a text of compass.yaml, inline settings and variables."""

    def load_from(text=None, inline=None, **env):
        if text is not None:
            (tmp_path / "compass.yaml").write_text(text, encoding="utf-8")
        return load(inline, env, tmp_path)

    return load_from


@pytest.fixture
def refusal(loaded):
    """Return the error with which settings are refused."""

    def refuse(*args, **kwargs):
        with pytest.raises(ConfigError) as caught:
            loaded(*args, **kwargs)
        return caught.value

    return refuse
