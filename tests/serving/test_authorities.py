"""Which actor a replica takes for its own."""

import os
import subprocess
import sys

PROGRAM = """
from pathlib import Path
from compass_ray.policy.breaker import BreakerConfig
from compass_ray.serving.authorities import digest
from compass_ray.types.settings import EngineSettings

groups = frozenset({"openai/a", "anthropic/a", "google/a"}), frozenset({"local/b"})
print(digest([BreakerConfig(), groups]))
print(digest([BreakerConfig(), groups[:1]]))
print(digest([BreakerConfig(probes=2), groups]))
print(digest([EngineSettings(Path("a.gguf"), 1, 2048, 4)]))
print(digest([EngineSettings(Path("b.gguf"), 1, 2048, 4)]))
"""


def test_every_process_finds_the_same_actors_for_the_same_settings_and_others_for_others():
    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2", "3")
    ]

    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == 5
