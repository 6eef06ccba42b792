"""What the contract of the wires needs: requests as the gateway parses them, and an oracle."""

import ssl
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import orjson
import pytest
import trustme
from typing_extensions import is_typeddict

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.providers import _pool
from compass_ray.providers.base import StreamState, Target
from compass_ray.providers.registry import wire
from compass_ray.types.routing import Endpoint, Tier

MODELS = {
    "openai": "gpt-4.1",
    "azure": "my gpt/4.1",
    "local": "smollm2-135m-instruct",
    "anthropic": "claude-opus-5-5",
    "huggingface": "openai/gpt-oss-120b:groq",
    "replicate": "meta/meta-llama-3-8b-instruct",
    "google": "gemini-3.8-flash",
}


@pytest.fixture
def call(endpoint, target):
    """Return a function that has a wire write a request for its provider."""
    return lambda kind, request, **more: wire(kind).encode(request, endpoint(kind, **more), target)


@pytest.fixture
def chat():
    """Return a function from a chat-completions body to a parsed request."""
    return lambda **body: parse(
        orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **body}),
        Limits(),
    )


@pytest.fixture
def endpoint():
    """Return a function that makes an endpoint of a provider."""

    def make(provider, wire_model="", capabilities=("tools", "vision", "reasoning"), limit=4096):
        return Endpoint(
            provider,
            "the-model",
            wire_model or MODELS[provider],
            Tier.FAST,
            context_window=100_000,
            max_output_tokens=limit,
            capabilities=frozenset(capabilities),
        )

    return make


@pytest.fixture
def target():
    return Target("https://api.example.com", "sk-canary-000000000000")


@pytest.fixture
def state():
    """Return a function: every answer has a state of its own."""
    return lambda: StreamState("chatcmpl-req1", 1_763_900_000, "the-model")


@pytest.fixture
def conforms():
    """Return a check that raises AssertionError where a value does not fit an SDK's type.

    pydantic reads the SDKs' `Iterable`s lazily and skips unknown keys; this does neither.
    """
    return _fit


def _fit(value: Any, kind: Any, path: str = "") -> None:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Annotated, Required):
        _fit(value, args[0], path)
    elif origin in (Union, types.UnionType):
        _fit_one_of(value, args, path)
    elif origin is Literal:
        assert value in args, f"{path}: {value!r} is none of {args}"
    elif is_typeddict(kind):
        _fit_typed_dict(value, kind, path)
    elif isinstance(origin, type):
        _fit_container(value, origin, args, path)
    elif kind is float:
        assert type(value) in (int, float), f"{path}: {value!r} is no number"
    elif kind not in (Any, object):
        assert type(value) is (kind or type(None)), f"{path}: {value!r} is no {kind}"


def _fit_container(value: Any, origin: type, args: Any, path: str) -> None:
    if issubclass(origin, Mapping):
        assert isinstance(value, dict), f"{path}: not an object"
        for name, item in value.items():
            _fit(item, args[1], f"{path}.{name}")
    else:
        assert issubclass(origin, Iterable)
        assert isinstance(value, list), f"{path}: not an array"
        for index, item in enumerate(value):
            _fit(item, args[0], f"{path}[{index}]")


def _fit_one_of(value: Any, kinds: Iterable[Any], path: str) -> None:
    misfits = []
    for kind in kinds:
        try:
            _fit(value, kind, path)
        except AssertionError as misfit:
            misfits.append(str(misfit))
        else:
            return
    raise AssertionError(f"{path}: fits none of: {misfits}")


def _fit_typed_dict(value: Any, kind: Any, path: str) -> None:
    assert isinstance(value, dict), f"{path}: not an object"
    hints = get_type_hints(kind, include_extras=True)
    unknown, missing = value.keys() - hints.keys(), kind.__required_keys__ - value.keys()
    assert not unknown, f"{path}: {kind.__name__} has no {unknown}"
    assert not missing, f"{path}: {kind.__name__} needs {missing}"
    for name, item in value.items():
        _fit(item, hints[name], f"{path}.{name}")


@dataclass
class Certificates:
    """TLS for servers: one trusted, one for another host, one by an authority nobody knows."""

    server: ssl.SSLContext
    elsewhere: ssl.SSLContext
    stranger: ssl.SSLContext


@pytest.fixture
def certificates(tmp_path, monkeypatch):
    """Trust one authority, and no other."""
    known, unknown = trustme.CA(), trustme.CA()
    known.cert_pem.write_to_path(tmp_path / "known.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "known.pem"))
    _pool.trusted.cache_clear()

    def of(authority, host):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(host).configure_cert(context)
        return context

    yield Certificates(of(known, "127.0.0.1"), of(known, "provider.test"), of(unknown, "127.0.0.1"))
    _pool.trusted.cache_clear()
