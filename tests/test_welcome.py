import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from compass_ray import welcome

pytestmark = pytest.mark.server

READY = {"name": "local", "configured": True, "healthy": True, "waits_for": [], "detail": ""}


@pytest.fixture
def screen():
    """Return what is shown when the gateway answers with a status and a body."""

    def screen(status, body):
        class Gateway(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == "/api/v1/providers" else 404)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        console = Console(file=StringIO(), width=60)
        with HTTPServer(("127.0.0.1", 0), Gateway) as server:
            Thread(target=server.handle_request).start()
            welcome.show(
                console,
                f"http://127.0.0.1:{server.server_port}",
                {"RAY_ADDRESS": "1.2.3.4:5", "RAY_AUTH_MODE": "token"},
                Path("/x/serve.log"),
            )
        return console.file.getvalue()

    return screen


def test_a_configured_provider_and_one_that_waits_for_a_variable(screen):
    names = ["GEMINI_API_KEY", "GOOGLE_API_KEY"]
    waiting = {**READY, "name": "google", "configured": False, "waits_for": names}

    text = screen(200, {"data": [READY, waiting]})

    assert "local          configured" in text
    assert "google         waits for GEMINI_API_KEY or GOOGLE_API_KEY" in text


def test_a_provider_that_lacks_nothing_is_not_ready_yet(screen):
    loading = {**READY, "configured": False, "detail": "loading"}

    assert "local          not ready loading" in screen(200, {"data": [loading]})


def test_an_unhealthy_provider_says_why(screen):
    sick = {**READY, "name": "vllm", "healthy": False, "detail": "connection [refused]"}

    assert "vllm           not healthy connection [refused]" in screen(200, {"data": [sick]})


def test_the_first_request_can_be_pasted_as_it_stands(screen):
    text = screen(200, {"data": [READY]})

    assert (
        '-d \'{"model": "auto", "messages": [{"role": "user", "content": "What is Ray?"}]}\''
        in text
    )
    assert "\nCtrl-C" not in text
    assert "Log: /x/serve.log" in text


def test_a_gateway_with_keys_says_that_callers_need_one(screen):
    assert "callers need a key" in screen(401, {"error": {}})


@pytest.mark.parametrize("body", [{}, [], {"data": [1]}, {"data": None}, "x"])
def test_an_answer_that_is_no_list_of_providers_does_not_stop_the_welcome(screen, body):
    text = screen(200, body)

    assert "the providers cannot be listed" in text
    assert "Try it" in text


@pytest.fixture
def growing():
    """Serve a list with one more of two providers ready at each request; count the ready."""
    sizes = []

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            starting = {**READY, "configured": False}
            providers = [READY] * len(sizes) + [starting] * (2 - len(sizes))
            self.wfile.write(json.dumps({"data": providers}).encode())
            sizes.append(len(sizes))

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", sizes
        server.shutdown()
        thread.join()


def test_it_waits_until_every_provider_is_ready(growing):
    url, sizes = growing

    welcome.wait_for_providers(url, 2, timeout=30)

    assert sizes == [0, 1, 2]


def test_it_does_not_wait_for_ever(growing):
    url, sizes = growing

    welcome.wait_for_providers(url, 10**6, timeout=0.1)

    assert sizes == [0]


def test_it_does_not_wait_for_a_gateway_that_does_not_tell():
    welcome.wait_for_providers("http://127.0.0.1:1", 1, timeout=30)
