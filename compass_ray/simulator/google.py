"""Google's wire: generateContent, streamGenerateContent and the model list.

Source: the google-genai SDK 3.x and https://ai.google.dev/api/generate-content. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.simulator import body
from compass_ray.simulator.exchange import Ask, Choice, Frame, Refused, Reply, Tool, Trouble, Usage
from compass_ray.simulator.tokens import count_request

NAME = "google"
MODELS = ("sim-1", "gemini-3.8-pro", "gemini-3.8-flash")

_MEDIA = frozenset({"inlineData", "fileData", "inline_data", "file_data"})
_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_CAPITAL = re.compile("[A-Z]")
_TYPE = "type.googleapis.com/google.rpc."


def authenticate(headers: Mapping[str, str], query: Mapping[str, str]) -> None:
    """Refuse a request without a key or with a revoked one."""
    key = (headers.get("x-goog-api-key") or query.get("key") or "").strip()
    if not key:
        raise Refused(
            403,
            "PERMISSION_DENIED",
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
        )
    if key.startswith("sk-revoked"):
        raise Refused(401, "API_KEY_INVALID", "API key not valid. Please pass a valid API key.")


def read(raw: bytes, path: Mapping[str, str]) -> Ask:
    """Read a request to generate content; model and method stand in the path."""
    told = body.load(raw)
    if told is None:
        raise _invalid("Invalid JSON payload received.")
    contents = told.get("contents")
    if not contents:
        raise _invalid("* GenerateContentRequest.contents: contents is not specified")
    if not isinstance(contents, list) or not all(isinstance(one, dict) for one in contents):
        raise _invalid("Invalid value at 'contents': expected a list of Content objects")
    for n, content in enumerate(contents):
        if content.get("role") not in (None, "user", "model", "function"):
            raise _invalid(f"contents[{n}].role: please use a valid role: user, model.")
    config = _field(told, "generationConfig") or {}
    tools = _tools(told.get("tools"))
    texts = [*body.texts(_field(told, "systemInstruction")), *body.texts(contents)]
    definitions = [body.dumps(one) for one in told.get("tools") or ()]
    return Ask(
        path["model"],
        "\n".join(texts),
        count_request([*texts, *definitions], body.media(contents, _MEDIA)),
        stream=path["action"] == "streamGenerateContent",
        max_tokens=_at_least_one(config, "maxOutputTokens"),
        choices=_at_least_one(config, "candidateCount", 8) or 1,
        tools=tools,
        forced=_forced(_field(told, "toolConfig"), tools),
        schema=_schema(config),
        after_tool=_holds_result(contents[-1]),
    )


def whole(_ask: Ask, reply: Reply) -> bytes:
    """Write the answer in one piece."""
    candidates = [
        _candidate(index, _parts(choice), _finish(choice) if reply.finished else None)
        for index, choice in enumerate(reply.choices)
    ]
    document = {"candidates": candidates, **_tail(reply)}
    if reply.usage is not None:
        document["usageMetadata"] = _usage(reply.usage, reply.usage.output_tokens)
    return orjson.dumps(document)


def frames(_ask: Ask, reply: Reply) -> Iterator[Frame]:
    """Write the answer as server-sent events: a text by token, a call of a tool at once.

    There is no last event: a stream ends where the body ends.
    """
    produced = 0

    def event(candidate: dict[str, Any], output_tokens: int) -> bytes:
        document = {"candidates": [candidate], **_tail(reply)}
        if reply.usage is not None:
            document["usageMetadata"] = _usage(reply.usage, output_tokens)
        return b"data: " + orjson.dumps(document) + b"\r\n\r\n"

    for index, choice in enumerate(reply.choices):
        for token in choice.tokens:
            produced += 1
            data = b""
            if not choice.calls:
                data = event(_candidate(index, [{"text": token}], None), produced)
            yield Frame(data, 1)
        parts = _parts(choice) if choice.calls else [{"text": ""}]
        finish = _finish(choice) if reply.finished else None
        last = index == len(reply.choices) - 1 and reply.usage is not None
        total = reply.usage.output_tokens if last and reply.usage is not None else produced
        yield Frame(event(_candidate(index, parts, finish), total))


def error(trouble: Trouble, _request_id: str) -> bytes:
    """Write an error as google.rpc.Status.

    A kind that is no status of its own is a quota if it says PerMinute or PerDay, else a reason.
    """
    kind = trouble.kind
    usual = "INTERNAL" if trouble.status >= 500 else "FAILED_PRECONDITION"  # noqa: PLR2004
    status = _STATUSES.get(trouble.status, usual)
    details: list[dict[str, Any]] = []
    if kind in (*_STATUSES.values(), "FAILED_PRECONDITION"):
        status = kind
    elif kind and ("PerMinute" in kind or "PerDay" in kind):
        metric = "generativelanguage.googleapis.com/generate_content_requests"
        violation = {"quotaMetric": metric, "quotaId": kind, "quotaValue": "10"}
        details.append({"@type": f"{_TYPE}QuotaFailure", "violations": [violation]})
    elif kind:
        about = {"reason": kind, "domain": "googleapis.com"}
        service = {"service": "generativelanguage.googleapis.com"}
        details.append({"@type": f"{_TYPE}ErrorInfo", **about, "metadata": service})
    if trouble.retry_info is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": trouble.retry_info})
    told = {"code": trouble.status, "message": trouble.message, "status": status}
    return orjson.dumps({"error": {**told, "details": details} if details else told})


def error_event(document: bytes) -> bytes:
    """Write an error inside a stream."""
    return b"data: " + document + b"\r\n\r\n"


def headers(_ask: Ask | None, _request_id: str) -> dict[str, str]:
    """Return what Google says beside an answer; it tells no limits."""
    return {"server-timing": "gfet4t7; dur=1", "vary": "Origin"}


def models() -> bytes:
    """Write the list of models."""
    data = [
        {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
        }
        for name in MODELS
    ]
    return orjson.dumps({"models": data})


def _invalid(message: str) -> Refused:
    return Refused(400, "INVALID_ARGUMENT", message)


def _field(told: Mapping[str, Any], name: str) -> Any:
    """Return a field by its camelCase name or, as protocol buffers also allow, its snake_case."""
    value = told.get(name)
    return told.get(_CAPITAL.sub(r"_\g<0>", name).lower()) if value is None else value


def _at_least_one(config: Mapping[str, Any], name: str, most: int | None = None) -> int | None:
    value = _field(config, name)
    if value is None:
        return None
    number = body.whole(value)
    if number is None:
        raise _invalid(f"Invalid value at 'generation_config.{name}' (TYPE_INT32)")
    if number < 1 or (most is not None and number > most):
        raise _invalid(f"{name} must be positive" + (f" and at most {most}" if most else ""))
    return number


def _tools(told: Any) -> tuple[Tool, ...]:
    found = []
    for one in told or ():
        for function in _field(one, "functionDeclarations") or ():
            if not function.get("name"):
                raise _invalid("Invalid function name. Must start with a letter or an underscore.")
            schema = _field(function, "parametersJsonSchema") or function.get("parameters")
            found.append(body.tool(function["name"], schema))
    return tuple(found)


def _forced(config: Any, tools: tuple[Tool, ...]) -> Tool | None:
    told = _field(config or {}, "functionCallingConfig") or {}
    if told.get("mode") != "ANY":
        return None
    allowed = _field(told, "allowedFunctionNames")
    for tool in tools:
        if not allowed or tool.name in allowed:
            return tool
    raise _invalid("Function calling config is set without function_declarations.")


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if _field(config, "responseMimeType") != "application/json":
        return None
    schema = _field(config, "responseJsonSchema") or _field(config, "responseSchema")
    if isinstance(schema, dict):
        return schema
    return {"type": "object", "properties": {"answer": {"type": "string"}}}


def _candidate(index: int, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return candidate


def _holds_result(content: Mapping[str, Any]) -> bool:
    parts = content.get("parts")
    return isinstance(parts, list) and any(
        isinstance(part, dict) and _field(part, "functionResponse") is not None for part in parts
    )


def _parts(choice: Choice) -> list[dict[str, Any]]:
    if not choice.calls:
        return [{"text": choice.text}]
    read = [(call, body.load(call.arguments.encode())) for call in choice.calls]
    return [
        {"functionCall": {"id": f"call_{call.id}", "name": call.tool, "args": args}}
        for call, args in read
        if args is not None
    ]


def _finish(choice: Choice) -> str:
    if choice.finish == "tool_calls" and len(_parts(choice)) < len(choice.calls):
        return "MALFORMED_FUNCTION_CALL"
    return _FINISHES[choice.finish]


def _tail(reply: Reply) -> dict[str, Any]:
    return {"modelVersion": reply.model, "responseId": reply.id}


def _usage(usage: Usage, output_tokens: int) -> dict[str, Any]:
    return {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": output_tokens,
        "totalTokenCount": usage.input_tokens + output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input_tokens}],
    }
