"""Every error that an official SDK can raise has one of ours, told on the provider's own bodies."""

from pathlib import Path

import anthropic
import httpx
import httpx2
import huggingface_hub.errors
import openai
import orjson
import pytest
from anthropic._error_classes import ERROR_CLASSES
from google.genai import errors as google_errors
from huggingface_hub.inference._common import _parse_text_generation_error
from huggingface_hub.utils import hf_raise_for_status
from replicate.exceptions import ModelError, ReplicateError, ReplicateException

from compass_ray.policy.retry import RetryPolicy, after
from compass_ray.providers.registry import KINDS, wire
from compass_ray.types import errors

SAMPLES = Path(__file__).parent / "wire"

CALLER = {"Rejected"}
OUR_KEY = {"ProviderAuthFailed"}
MONEY = {"QuotaExhausted"}
MODEL = {"ProviderFault"}
"""A model that our catalogue promises is not there: the caller cannot know better."""

OPENAI = {
    openai.BadRequestError: CALLER | MONEY,
    openai.AuthenticationError: OUR_KEY,
    openai.PermissionDeniedError: OUR_KEY,
    openai.NotFoundError: MODEL | CALLER,
    openai.ConflictError: {"ProviderFault"},
    openai.UnprocessableEntityError: CALLER,
    openai.RateLimitError: {"RateLimited"} | MONEY,
    openai.InternalServerError: {"ProviderFault", "Overloaded"},
    openai.APIStatusError: {"ProviderTimeout", "BadAnswer"},  # 408, and a redirect
}
AZURE = OPENAI | {
    openai.BadRequestError: CALLER | MODEL,
    openai.NotFoundError: MODEL,
    openai.RateLimitError: {"RateLimited"},
    openai.APIStatusError: {"ProviderTimeout"},
}
ANTHROPIC = {
    anthropic.BadRequestError: CALLER | MONEY | OUR_KEY,
    anthropic.AuthenticationError: OUR_KEY,
    anthropic.PaymentRequiredError: MONEY,
    anthropic.PermissionDeniedError: OUR_KEY,
    anthropic.NotFoundError: MODEL,
    anthropic.RequestTimeoutError: {"ProviderTimeout"},
    anthropic.ConflictError: {"ProviderFault"},
    anthropic.PreconditionFailedError: CALLER,
    anthropic.ContentTooLargeError: CALLER,
    anthropic.UnprocessableEntityError: CALLER,
    anthropic.RateLimitError: {"RateLimited"} | MONEY,
    anthropic.RequestHeaderFieldsTooLargeError: CALLER,
    anthropic.ClientClosedRequestError: {"ProviderFault"},
    anthropic.InternalServerError: {"ProviderFault"},
    anthropic.HTTPNotImplementedError: {"ProviderFault"},
    anthropic.ServiceUnavailableError: {"Overloaded"},
    anthropic.GatewayTimeoutError: {"ProviderFault"},
    anthropic.OverloadedError: {"Overloaded"},
}
GOOGLE = {
    google_errors.ClientError: CALLER | OUR_KEY | MONEY | MODEL | {"RateLimited"},
    google_errors.ServerError: {"ProviderFault", "Overloaded"},
}
HUGGINGFACE = {
    huggingface_hub.errors.BadRequestError: MODEL,
    huggingface_hub.errors.HfHubHTTPError: (
        {"ProviderAuthFailed", "QuotaExhausted", "Rejected", "RateLimited"}
        | {"ProviderFault", "Overloaded"}
    ),
    huggingface_hub.errors.ValidationError: CALLER,
    huggingface_hub.errors.GenerationError: {"ProviderFault"},
    huggingface_hub.errors.IncompleteGenerationError: {"ProviderFault"},
    huggingface_hub.errors.OverloadedError: {"RateLimited"},
}
REPLICATE = {
    ReplicateError: (
        {"ProviderAuthFailed", "QuotaExhausted", "Rejected", "RateLimited"}
        | {"ProviderFault", "Overloaded"}
    ),
}

WITHOUT_A_BODY = {
    "APIConnectionError": errors.ProviderUnreachable,
    "APITimeoutError": errors.ProviderTimeout,
    "APIResponseValidationError": errors.BadAnswer,
}
"""Raised by the connection or by what is no answer; `test_http` and `test_client` show ours."""

NOT_ABOUT_A_CALL = {
    *("APIError", "APIStatusError", "OpenAIError", "AnthropicError"),  # only bases
    *("OAuthError", "SubjectTokenProviderError"),  # of an identity that we do not use
    *("CredentialsError", "IdentityTokenFileError"),
    *("LengthFinishReasonError", "ContentFilterFinishReasonError"),  # of helpers that parse
    *("InvalidWebhookSignatureError", "APIWebhookValidationError"),
    *("WebSocketConnectionClosedError", "WebSocketQueueFullError"),
    "RetryableError",  # raised by users of the SDK
}

ADVICE = {
    "Rejected": (False, False),
    "ProviderAuthFailed": (True, False),
    "QuotaExhausted": (True, False),
    "RateLimited": (True, True),
    "Overloaded": (True, True),
    "ProviderFault": (True, True),
    "ProviderTimeout": (True, True),
    "BadAnswer": (True, True),
}
"""Ours, whether another endpoint may do it, and whether this one may later."""


def samples(kind):
    for case in orjson.loads((SAMPLES / kind / "errors.json").read_bytes()).values():
        body = case["body"]
        yield case, body.encode() if isinstance(body, str) else orjson.dumps(body)


def answer_of(case, raw, http=httpx2):
    request = http.Request("POST", "https://api.example.com/v1/chat")
    return http.Response(case["status"], headers=case["headers"], content=raw, request=request)


def raised_by_openai(case, raw):
    with openai.OpenAI(api_key="x", http_client=httpx2.Client()) as client:
        return type(client._make_status_error_from_response(answer_of(case, raw)))


def raised_by_anthropic(case, raw):
    with anthropic.Anthropic(api_key="x", http_client=httpx2.Client()) as client:
        raised = type(client._make_status_error_from_response(answer_of(case, raw)))
    return next(cls for cls in raised.__mro__ if cls in ANTHROPIC)


def raised_by_google(case, raw):
    with pytest.raises(google_errors.APIError) as raised:
        google_errors.APIError.raise_for_response(answer_of(case, raw))
    return raised.type


def raised_by_hugging_face(case, raw):
    body = orjson.loads(raw) if raw.startswith(b"{") else {}
    if "error_type" in body:
        return type(_parse_text_generation_error(body["error"], body["error_type"]))
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError) as raised:
        hf_raise_for_status(answer_of(case, raw))
    return raised.type


def raised_by_replicate(case, raw):
    return type(ReplicateError.from_response(answer_of(case, raw, httpx)))


@pytest.mark.parametrize(
    ("kind", "raised_by", "table"),
    [
        ("openai", raised_by_openai, OPENAI),
        ("azure", raised_by_openai, AZURE),
        ("anthropic", raised_by_anthropic, ANTHROPIC),
        ("google", raised_by_google, GOOGLE),
        ("huggingface", raised_by_hugging_face, HUGGINGFACE),
        ("replicate", raised_by_replicate, REPLICATE),
    ],
)
def test_each_class_of_an_sdk_is_one_of_ours_on_the_providers_own_bodies(kind, raised_by, table):
    found = {}
    for case, raw in samples(kind):
        ours = wire(kind).decode_error(case["status"], case["headers"], raw)
        found.setdefault(raised_by(case, raw), set()).add(type(ours).__name__)

    expected = {cls: names for cls, names in table.items() if cls in found or kind != "azure"}
    assert found == expected


@pytest.mark.parametrize("sdk", [openai, anthropic])
def test_no_class_of_an_sdk_is_forgotten(sdk):
    table = {cls.__name__ for cls in (OPENAI if sdk is openai else ANTHROPIC)}
    public = {
        name
        for name in (*sdk.__all__, *sdk._exceptions.__all__)
        if isinstance(cls := getattr(sdk._exceptions, name, None), type)
        and issubclass(cls, Exception)
    }
    renamed = {"RequestTooLargeError", "DeadlineExceededError"}

    assert public - table - WITHOUT_A_BODY.keys() - NOT_ABOUT_A_CALL - renamed == set()


@pytest.mark.parametrize(("status", "code"), [key for key in ERROR_CLASSES if key[1]])
def test_each_error_code_of_anthropics_is_one_of_ours(status, code):
    told = {"type": "x", "message": "m", "details": {"error_code": code}}
    cls = ERROR_CLASSES[status, code]

    error = wire("anthropic").decode_error(status, {}, orjson.dumps({"error": told}))

    base = next(one for one in cls.__mro__ if one in ANTHROPIC)
    expected = CALLER if base is anthropic.NotFoundError else ANTHROPIC[base]
    assert type(error).__name__ in expected
    assert error.code


@pytest.mark.parametrize("kind", [one for one in KINDS if one != "local"])
def test_each_error_comes_with_advice(kind):
    for case, raw in samples(kind):
        error = wire(kind).decode_error(case["status"], {}, raw)
        verdict = after(error, 1, RetryPolicy(), 0.5)

        again = verdict.again_after is not None or (error.retry_after or 0) > 8
        assert (verdict.elsewhere, again) == ADVICE[type(error).__name__]


def test_a_failed_prediction_is_the_models_error_to_replicates_client(state):
    assert issubclass(ModelError, ReplicateException)
    failed = orjson.dumps({"status": "failed", "error": "CUDA out of memory"})

    with pytest.raises(errors.ProviderFault):
        wire("replicate").decode(failed, state())
