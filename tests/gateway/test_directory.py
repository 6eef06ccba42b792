import asyncio
import contextlib

from compass_ray.gateway.directory import Directory
from compass_ray.providers.base import Target
from compass_ray.types.status import ProviderKey, ProviderStatus


class Client:
    target = None


def status(**fields):
    return ProviderStatus(
        **{"name": "openai", "kind": "openai", "configured": True, "base_url": "u", "key": "k"}
        | fields
    )


def test_a_provider_cannot_be_called_before_its_actor_spoke():
    assert Directory({"openai": Client()}).unavailable() == {"openai": "provider not reported yet"}


def test_a_configured_provider_gets_its_target():
    client = Client()
    directory = Directory({"openai": client})

    directory.hear(status())

    assert directory.unavailable() == {}
    assert client.target == Target("u", "k")


def test_all_keys_of_a_provider_reach_its_client():
    client, keys = Client(), (ProviderKey("A", "k"), ProviderKey("B", "l"))

    Directory({"openai": client}).hear(status(keys=keys))

    assert [target.key for target in client.target.each_key()] == ["k", "l"]


def test_who_waits_for_a_variable_has_no_key():
    directory = Directory({"openai": Client(), "local": Client()})
    directory.hear(status(configured=False, key=None, waits_for=("A",)))
    directory.hear(status(name="local", configured=False, detail="the engine is starting"))

    assert directory.keyless() == {"openai"}


def test_a_provider_that_loses_its_key_is_not_called_with_the_old_one():
    client = Client()
    directory = Directory({"openai": client})
    directory.hear(status())

    directory.hear(status(configured=False, key=None, waits_for=("A", "B")))

    assert client.target is None
    assert directory.unavailable() == {"openai": "provider not configured: set A or B"}


def test_models_that_have_to_start_are_told_by_provider():
    directory = Directory({"openai": Client(), "vllm": Client()})

    directory.hear(status())
    directory.hear(status(name="vllm", starts={"llama": 90.0}))
    assert directory.starts() == {"vllm": {"llama": 90.0}}

    directory.hear(status(name="vllm"))
    assert directory.starts() == {}


async def test_the_last_word_stands_while_the_actor_is_silent():
    client = Client()
    directory = Directory({"openai": client})
    words = [(1, status())]
    silent = asyncio.Event()

    class Authority:
        async def watch(self, _version, _wait):
            if words:
                return words.pop()
            silent.set()
            raise ConnectionError

    following = asyncio.create_task(directory.follow("openai", Authority()))
    await silent.wait()
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following

    assert client.target == Target("u", "k")
