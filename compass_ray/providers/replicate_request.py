"""Writes a chat request as the input of a language model on Replicate. Pure.

Models there take a prompt, not a conversation, and each has a schema of its own; this is the one
that Llama and most others share (replicate/cog-vllm):

| OpenAI                  | Replicate                                                             |
|-------------------------|-----------------------------------------------------------------------|
| system, developer       | `system_prompt`                                                       |
| the one user message    | `prompt`                                                              |
| a conversation          | `prompt` in Llama 3's own template; of other models it is refused     |
| max_(completion_)tokens | `max_tokens`; the endpoint's limit where the caller set none          |
| stop                    | `stop_sequences`, parted by commas; one that holds a comma is refused |
| temperature, top_p,     | the same                                                              |
|   penalties, seed       |                                                                       |
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compass_ray.providers._content import text_of
from compass_ray.providers._fields import ADVISORY, Handling, inexpressible, refuse_inexpressible
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import InvalidRequest
from compass_ray.types.routing import Endpoint

FIELDS: Mapping[str, Handling] = {
    **ADVISORY,
    "audio": (),
    "frequency_penalty": "translated",
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "max_completion_tokens": "translated",
    "max_tokens": "translated",
    "messages": "translated",
    "modalities": (["text"],),
    "model": "translated",
    "moderation": (),
    "n": (1,),
    "parallel_tool_calls": "advisory",  # there are no tools
    "presence_penalty": "translated",
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "safety_identifier": "advisory",  # Replicate knows no end users
    "seed": "translated",
    "stop": "translated",
    "stream": "translated",
    "temperature": "translated",
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "top_p": "translated",
    "user": "advisory",  # Replicate knows no end users
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""What becomes of each of OpenAI's fields, see `_fields`."""

_SAME = ("frequency_penalty", "presence_penalty", "seed", "temperature", "top_p")

_BEGIN, _END = "<|begin_of_text|>", "<|eot_id|>"
_HEADER = ("<|start_header_id|>", "<|end_header_id|>\n\n")
_ENDINGS = ("<|end_of_text|>", _END)
"""What ends an answer of Llama 3: to be told beside the caller's own, which replace them."""

_Turn = tuple[str, str]
"""Who speaks (system, user or assistant), and what."""


def write(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    """Return the input.

    Raises:
        InvalidRequest: a field cannot be expressed; names it.
    """
    body = request.body
    refuse_inexpressible(body, FIELDS)
    turns = [_turn(message, f"messages[{n}]") for n, message in enumerate(body["messages"])]
    speaks_llama = "llama-3" in endpoint.wire_model.lower()
    out = _conversation(turns) if speaks_llama else _question(turns)
    out["max_tokens"] = endpoint.output_limit(request.max_output_tokens)
    out |= {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("stop") is not None:
        stops = _stops(body["stop"])
        out["stop_sequences"] = ",".join([*stops, *_ENDINGS] if speaks_llama else stops)
    return out


def _turn(message: dict[str, Any], path: str) -> _Turn:
    for name in ("audio", "function_call", "tool_calls"):
        if message.get(name):
            raise inexpressible(f"{path}.{name}")
    role = {"developer": "system"}.get(message["role"], message["role"])
    if role not in ("system", "user", "assistant"):
        raise inexpressible(f"{path}.role")
    text = text_of(message.get("content"), f"{path}.content") or message.get("refusal") or ""
    if any(mark in text for mark in (_BEGIN, *_HEADER, *_ENDINGS)):
        # A model that is prompted by text would take it for another's words.
        raise InvalidRequest(
            f"{path}.content holds a control word of Llama 3", param=f"{path}.content"
        )
    return role, text


def _question(turns: Sequence[_Turn]) -> dict[str, Any]:
    """Return a prompt and what precedes it."""
    said = [(role, text) for role, text in turns if role != "system"]
    if len(said) != 1 or said[0][0] != "user":
        raise inexpressible(
            "messages", "the chosen model takes one question, and no conversation in messages"
        )
    system = "\n\n".join(text for role, text in turns if role == "system")
    return {"prompt": said[0][1], "system_prompt": system}


def _conversation(turns: Sequence[_Turn]) -> dict[str, Any]:
    """Return the conversation in Llama 3's template, up to where the assistant begins.

    Source: https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3
    """
    opening, closing = _HEADER
    spoken = "".join(f"{opening}{role}{closing}{text.strip()}{_END}" for role, text in turns)
    prompt = f"{_BEGIN}{spoken}{opening}assistant{closing}"
    return {"prompt": prompt, "prompt_template": "{prompt}"}


def _stops(stop: str | list[str]) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop
    if any("," in one for one in stops):
        raise inexpressible("stop", "the chosen provider takes no comma in stop")
    return stops
