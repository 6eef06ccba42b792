"""One simulator for all tests, as just started before each."""

import aiohttp
import pytest

from compass_ray.simulator import SimulatorProcess

OPENAI = "/openai/v1/chat/completions"
AZURE = "/azure/openai/v1/chat/completions"
HUGGINGFACE = "/huggingface/v1/chat/completions"
ANTHROPIC = "/anthropic/v1/messages"
GOOGLE = "/google/v1beta/models/sim-1:generateContent"
GOOGLE_STREAM = "/google/v1beta/models/sim-1:streamGenerateContent?alt=sse"
HEADERS = {
    "authorization": "Bearer sk-simulated",
    "api-key": "simulated",
    "x-api-key": "sk-simulated",
    "x-goog-api-key": "simulated",
    "anthropic-version": "2023-06-01",
}
SAY = [{"role": "user", "content": "hello"}]
BODIES = {
    OPENAI: {"model": "sim-1", "messages": SAY},
    AZURE: {"model": "sim-1", "messages": SAY},
    HUGGINGFACE: {"model": "sim-1", "messages": SAY},
    ANTHROPIC: {"model": "sim-1", "messages": SAY, "max_tokens": 100},
    GOOGLE: {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
}


@pytest.fixture(scope="session")
def process():
    with SimulatorProcess(seed=1) as process:
        yield process


@pytest.fixture
def simulator(process):
    process.reset()
    return process


@pytest.fixture
async def http(simulator):
    """A bare client with every provider's key."""
    timeout = aiohttp.ClientTimeout(10)
    async with aiohttp.ClientSession(simulator.url, headers=HEADERS, timeout=timeout) as session:
        yield session


@pytest.fixture
def behave(simulator):
    """Make every request meet this behaviour."""
    return lambda **then: simulator.script([{"then": then}])
