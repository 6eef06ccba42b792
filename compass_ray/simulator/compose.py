"""From a request and a behaviour to the answer, token by token. Pure: chance is an argument."""

import random

import orjson

from compass_ray.simulator.exchange import Ask, Choice, Reply, Usage
from compass_ray.simulator.script import Behaviour, Fault
from compass_ray.simulator.text import lorem, sample
from compass_ray.simulator.tokens import split

_TOKENS = 20
_ABSURD = Usage(input_tokens=-1, output_tokens=2**63)


def compose(ask: Ask, behaviour: Behaviour, number: int, rng: random.Random) -> Reply:
    """Answer a request; the same `rng` state gives the same answer."""
    fault = behaviour.fault.name if behaviour.fault else None
    identity = identify(rng)
    choices = tuple(_choice(ask, behaviour, rng) for _ in range(ask.choices))
    return Reply(
        identity,
        number,
        ask.model,
        choices,
        _usage(ask, choices, behaviour.fault),
        finished=fault != "no_finish_reason",
        done=fault != "no_done",
    )


def identify(rng: random.Random) -> str:
    """Return 24 hexadecimal digits."""
    return f"{rng.getrandbits(96):024x}"


def _usage(ask: Ask, choices: tuple[Choice, ...], fault: Fault | None) -> Usage | None:
    if fault is not None and fault.name == "no_usage":
        return None
    if fault is not None and fault.name == "absurd_usage":
        return _ABSURD
    return Usage(ask.input_tokens, sum(len(choice.tokens) for choice in choices))


def _choice(ask: Ask, behaviour: Behaviour, rng: random.Random) -> Choice:
    tool, text = _said(ask, behaviour, rng)
    tokens = split(text)
    limit = None if behaviour.ignore_max_tokens else ask.max_tokens
    call_id = identify(rng) if tool is not None else ""
    if limit is not None and len(tokens) > limit:
        return Choice(tokens[:limit], "length", tool, call_id)
    return Choice(tokens, "stop" if tool is None else "tool_calls", tool, call_id)


def _said(ask: Ask, behaviour: Behaviour, rng: random.Random) -> tuple[str | None, str]:
    """Return the tool that is called, if one is, and its arguments or the text."""
    if behaviour.text is not None:
        return None, behaviour.text
    if (call := behaviour.tool_call) is not None:
        schema = next((tool.schema for tool in ask.tools if tool.name == call.name), {})
        return call.name, _json(sample(schema, rng) if call.arguments is None else call.arguments)
    if ask.forced is not None:
        return ask.forced.name, _json(sample(ask.forced.schema, rng))
    if ask.schema is not None:
        return None, _json(sample(ask.schema, rng))
    length = _TOKENS if behaviour.tokens is None else behaviour.tokens
    return None, lorem(rng, length)


def _json(value: object) -> str:
    """Write arguments; a text is taken as it is, so that a script can send broken JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
