"""Unit tests may not open sockets nor start Ray; each test says by a marker what it needs."""

import os
import socket

import pytest
from hypothesis import settings

settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile("nightly", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_CLEARED = (
    *("OPENAI_", "AZURE_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "HF_", "REPLICATE_"),
    "COMPASS_",
)


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch):
    """No key and no setting of the developer's shell reaches a test."""
    for name in list(os.environ):
        if name.startswith(_CLEARED):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_ray_and_no_sockets(request, monkeypatch):
    """Refuse both to tests that are not marked for them."""
    if request.node.get_closest_marker("ray"):
        return
    if not request.node.get_closest_marker("server"):

        def refuse(*_args, **_kwargs):
            raise AssertionError("a unit test opened a socket: mark it `server` or use a fake")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket.socket, "bind", refuse)

    import ray  # noqa: PLC0415  # unit tests that never import Ray need not pay for it

    def refuse_ray(*_args, **_kwargs):
        raise AssertionError("a unit test started Ray: mark it `ray`")

    monkeypatch.setattr(ray, "init", refuse_ray)
