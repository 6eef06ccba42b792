"""The embeddings wires before the providers' own clients."""

from math import hypot

import openai
import pytest
from google import genai
from google.genai.types import HttpOptions
from huggingface_hub import InferenceClient

from compass_ray.simulator.embeddings import DIMENSIONS, vector

pytestmark = pytest.mark.server


def openai_client(kind, variables):
    if kind == "openai":
        url, key = variables["OPENAI_BASE_URL"], variables["OPENAI_API_KEY"]
        return openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    return openai.AzureOpenAI(
        azure_endpoint=variables["AZURE_OPENAI_ENDPOINT"],
        api_key=variables["AZURE_OPENAI_API_KEY"],
        api_version="2024-10-21",
        max_retries=0,
    )


@pytest.fixture(params=["openai", "azure"])
def client(simulator, request):
    with openai_client(request.param, simulator.environment()) as client:
        yield client


def test_texts_become_vectors_and_are_counted(client, simulator):
    told = client.embeddings.create(model="sim-1", input=["hello", "world"])

    assert [one.embedding for one in told.data] == [
        vector("sim-1", text, DIMENSIONS) for text in ("hello", "world")
    ]
    assert told.usage.prompt_tokens == told.usage.total_tokens == 4
    (entry,) = simulator.log()
    assert (entry["input_tokens"], entry["output_tokens"]) == (4, 0)


def test_both_encodings_are_the_same_numbers(client):
    packed = client.embeddings.create(model="sim-1", input="hello")
    plain = client.embeddings.create(model="sim-1", input="hello", encoding_format="float")

    assert packed.data[0].embedding == plain.data[0].embedding


def test_a_shorter_vector_is_a_unit_long_as_well(client):
    told = client.embeddings.create(model="sim-1", input=[1, 2, 3], dimensions=8)

    assert len(told.data[0].embedding) == 8
    assert hypot(*told.data[0].embedding) == pytest.approx(1)


@pytest.mark.parametrize(
    "wrong", [{"input": []}, {"input": ""}, {"input": "x", "dimensions": DIMENSIONS + 1}]
)
def test_what_openai_would_refuse_is_refused(client, wrong):
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="sim-1", **wrong)


def test_google_s_own_client_reads_its_vectors(simulator):
    variables = simulator.environment()
    options = HttpOptions(base_url=variables["GOOGLE_GEMINI_BASE_URL"], api_version="v1beta")
    client = genai.Client(api_key=variables["GEMINI_API_KEY"], vertexai=False, http_options=options)

    told = client.models.embed_content(
        model="sim-1", contents=["hello", "world"], config={"output_dimensionality": 8}
    )

    assert [one.values for one in told.embeddings] == [
        vector("sim-1", text, 8) for text in ("hello", "world")
    ]
    client.close()


def test_hugging_face_s_own_client_reads_its_vectors(simulator):
    variables = simulator.environment()
    base = variables["HF_BASE_URL"].removesuffix("/v1")
    model = f"{base}/hf-inference/models/owner/e"
    client = InferenceClient(token=variables["HF_TOKEN"])

    told = client.feature_extraction(
        "hello", model=f"{model}/pipeline/feature-extraction", truncate=False
    )

    assert told.tolist() == [vector("owner/e", "hello", DIMENSIONS)]
