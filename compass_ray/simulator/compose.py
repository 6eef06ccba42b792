"""From a request and a behaviour to the answer, token by token. Pure: chance is an argument."""

import random

import orjson

from compass_ray.simulator.exchange import Ask, Call, Choice, Reply, Usage
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
    limit = None if behaviour.ignore_max_tokens else ask.max_tokens
    called = _called(ask, behaviour, rng)
    if called:
        return _calling(called, limit, rng)
    tokens = split(_text(ask, behaviour, rng))
    if limit is not None and len(tokens) > limit:
        return Choice(tokens[:limit], "length")
    return Choice(tokens, "stop")


def _called(ask: Ask, behaviour: Behaviour, rng: random.Random) -> list[tuple[str, str]]:
    """Return the tools that are called, each with its arguments."""
    if behaviour.text is not None:
        return []
    if behaviour.tool_call:
        schemas = {tool.name: tool.schema for tool in ask.tools}
        return [
            (
                call.name,
                _json(
                    sample(schemas.get(call.name, {}), rng)
                    if call.arguments is None
                    else call.arguments
                ),
            )
            for call in behaviour.tool_call
        ]
    if ask.forced is not None:
        return [(ask.forced.name, _json(sample(ask.forced.schema, rng)))]
    return []


def _calling(called: list[tuple[str, str]], limit: int | None, rng: random.Random) -> Choice:
    """Write the calls one after the other; what `limit` leaves no token for is not begun."""
    calls: list[Call] = []
    produced: list[str] = []
    for name, arguments in called:
        tokens = split(arguments)
        kept = tokens if limit is None else tokens[: limit - len(produced)]
        calls.append(Call(name, identify(rng), kept))
        produced += kept
        if len(kept) < len(tokens):
            return Choice(tuple(produced), "length", tuple(calls))
    return Choice(tuple(produced), "tool_calls", tuple(calls))


def _text(ask: Ask, behaviour: Behaviour, rng: random.Random) -> str:
    if behaviour.text is not None:
        return behaviour.text
    if ask.schema is not None:
        return _json(sample(ask.schema, rng))
    return lorem(rng, _TOKENS if behaviour.tokens is None else behaviour.tokens)


def _json(value: object) -> str:
    """Write arguments; a text is taken as it is, so that a script can send broken JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
