"""LangChain's standard integration tests of chat models, for its unmodified ChatOpenAI."""

import base64

import httpx
import pytest
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
PAGE = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@pytest.fixture(autouse=True)
def _media_without_a_network(monkeypatch):
    """The tests download a picture, a document and a sound, which no scripted upstream reads."""

    def get(url, **_options):
        return httpx.Response(200, content=PAGE if url.endswith(".pdf") else PIXEL)

    monkeypatch.setattr("langchain_tests.integration_tests.chat_models.httpx.get", get)


class _Standard(ChatModelIntegrationTests):
    """What is not claimed below is skipped, because it cannot apply.

    OpenAI's chat completions, which ChatOpenAI speaks, know no picture or document in a tool's
    result. The timing of a recorded stream is about the recording.
    """

    upstream: str

    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        return {"model": self.upstream, "stream_usage": True, "max_retries": 0}

    @property
    def model_override_value(self):
        return "sim-google" if self.upstream == "sim-openai" else "sim-openai"

    @property
    def supports_image_inputs(self):
        return True

    @property
    def supports_image_urls(self):
        return True

    @property
    def supports_pdf_inputs(self):
        return True

    @property
    def supports_audio_inputs(self):
        return True

    @property
    def supports_json_mode(self):
        return True

    @property
    def supports_anthropic_inputs(self):
        return True


class TestOpenAI(_Standard):
    upstream = "sim-openai"


class TestAnthropic(_Standard):
    upstream = "sim-anthropic"

    @pytest.mark.xfail(reason="Anthropic has no JSON mode without a schema", strict=True)
    def test_json_mode(self, model):
        super().test_json_mode(model)

    @pytest.mark.xfail(reason="Anthropic takes no sound", strict=True)
    def test_audio_inputs(self, model):
        super().test_audio_inputs(model)


class TestGoogle(_Standard):
    upstream = "sim-google"
