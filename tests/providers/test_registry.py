import subprocess
import sys

import pytest

from compass_ray.providers.registry import KINDS, wire
from compass_ray.types.errors import ConfigError


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_one_wire(kind):
    assert wire(kind) is wire(kind)
    assert callable(wire(kind).decode_chunk)


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(
        ConfigError, match="openai, azure, anthropic, google, huggingface, replicate, local"
    ):
        wire("telegraph")


def test_no_wire_is_loaded_before_it_is_asked_for():
    program = (
        "import sys, compass_ray.providers.registry\n"
        "assert not [m for m in sys.modules if 'anthropic' in m or 'openai' in m]\n"
        "compass_ray.providers.registry.wire('anthropic')\n"
        "assert 'anthropic' not in sys.modules, 'the SDK is not for the hot path'\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()
