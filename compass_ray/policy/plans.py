"""Reads a plan, and refuses what could not end well, with the path in the plan. Pure.

A step is an object, and one of its fields tells which:

    {"prompt": …} or {"messages": …}                      a call of a model
    {"chain": [step, …]}                                  one after the other
    {"parallel": [step, …], "aggregate": …, "judge": …}   at the same time
    {"debate": [call, …], "rounds": 2, "judge": call}     in rounds
    {"delegate": call, "worker": step, "combine": call, "width": 8}
    {"try": step, "check": {…}, "fallback": step}         another step for one that fails

Besides `id`, `agent`, `attempts` and `literal`, the fields of a call are those of a
chat-completions body; `literal` keeps its texts as they are.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from compass_ray.policy.checkable import uncheckable
from compass_ray.types.errors import InvalidPlan
from compass_ray.types.plans import (
    Aggregate,
    Call,
    Chain,
    Check,
    Debate,
    Delegate,
    Parallel,
    Step,
    Try,
)

NAME = re.compile(r"\{\{\s*(\w+)\s*\}\}")
"""A name in a text; whatever stands for it is not looked through for names again."""

MOST_CALLS = 1_000
"""That a plan may come to, each delegation at its full width."""
MOST_DEPTH = 8
MOST_ROUNDS = 8
MOST_ATTEMPTS = 5

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_EVERYWHERE = frozenset({"input", "previous", "budget_usd"})
_OUR_FIELDS = frozenset({"id", "agent", "attempts", "literal", "prompt", "system"})
_NOT_IN_A_STEP = ("stream", "stream_options", "n")
_NOT_IN_AN_AGENT = {"prompt", "messages", *_NOT_IN_A_STEP} | _OUR_FIELDS - {"system"}
_KINDS = ("chain", "parallel", "debate", "delegate", "try", "prompt", "messages")
_GIVEN = frozenset({"answers", "task", "width", "answer", "failed", "failure"})
"""Names that steps give to what is inside them."""

Agents = Mapping[str, Mapping[str, Any]]


def read_plan(asked: Any) -> Step:
    """Return the plan of `{"plan": step, "agents": {name: fields of its calls}}`.

    Raises:
        InvalidPlan: names the path in the plan.
    """
    asked = _object(asked, "plan")
    reader = _Reader(_agents(asked.get("agents", {})))
    try:
        return reader.step(asked.get("plan"), "plan", _EVERYWHERE, depth=1, times=1)
    except RecursionError:
        raise InvalidPlan("plan holds a value that is nested too deep", param="plan") from None


def calls(step: Step, path: str = "plan") -> Iterator[tuple[str, Call]]:
    """Yield every call of a plan once, with its path."""
    if isinstance(step, Call):
        yield path, step
        return
    for place, one in _parts(step):
        yield from calls(one, f"{path}.{place}")


def _parts(step: Chain | Parallel | Debate | Delegate | Try) -> Iterator[tuple[str, Step]]:
    """Yield the steps that a step is made of, each with its place in it."""
    match step:
        case Chain():
            yield from ((f"chain[{place}]", one) for place, one in enumerate(step.steps))
        case Parallel():
            yield from ((f"parallel[{place}]", one) for place, one in enumerate(step.branches))
        case Debate():
            yield from ((f"debate[{place}]", one) for place, one in enumerate(step.speakers))
        case Delegate():
            yield "delegate", step.lead
            yield "worker", step.worker
            yield "combine", step.combine
        case Try():
            yield "try", step.step
            if step.check.judge is not None:
                yield "check.judge", step.check.judge
            yield "fallback", step.fallback
    if isinstance(step, Parallel | Debate) and step.judge is not None:
        yield "judge", step.judge


def texts(value: Any) -> str:
    """Return all strings in a JSON value, one a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    return "\n".join(map(texts, value)) if isinstance(value, list) else ""


class _Reader:
    """One pass over a plan: who is known where, and how many calls it comes to."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._calls = 0
        self._named: set[str] = set()

    def step(self, asked: Any, path: str, known: frozenset[str], *, depth: int, times: int) -> Step:
        """Read a step that runs so many times, and whose texts may use the `known` names."""
        asked = _object(asked, path)
        if depth > MOST_DEPTH:
            raise InvalidPlan(f"{path} is nested more than {MOST_DEPTH} deep", param=path)
        kinds = [kind for kind in _KINDS if kind in asked]
        if len(kinds) != 1:
            raise InvalidPlan(f"{path} must have one of {', '.join(_KINDS)}", param=path)
        match kinds[0]:
            case "chain":
                return self._chain(asked, path, known, depth, times)
            case "parallel":
                return self._parallel(asked, path, known, depth, times)
            case "debate":
                return self._debate(asked, path, known, times)
            case "delegate":
                return self._delegate(asked, path, known, depth, times)
            case "try":
                return self._try(asked, path, known, depth, times)
        return self._call(asked, path, known, times)

    def _chain(
        self, asked: Mapping[str, Any], path: str, known: frozenset[str], depth: int, times: int
    ) -> Chain:
        _only(asked, path, "chain")
        steps = []
        for place, one in enumerate(_list(asked, path, "chain")):
            where = f"{path}.chain[{place}]"
            before = known | self._named
            steps.append(self.step(one, where, before, depth=depth + 1, times=times))
        return Chain(tuple(steps))

    def _parallel(
        self, asked: Mapping[str, Any], path: str, known: frozenset[str], depth: int, times: int
    ) -> Parallel:
        _only(asked, path, "parallel", "aggregate", "judge")
        aggregate = asked.get("aggregate", "merge")
        if aggregate not in get_args(Aggregate):
            param = f"{path}.aggregate"
            raise InvalidPlan(
                f"{param} must be one of {', '.join(get_args(Aggregate))}", param=param
            )
        branches = []
        for place, one in enumerate(_list(asked, path, "parallel")):
            siblings = self._named
            self._named = set()  # what runs at the same time cannot be waited for
            where = f"{path}.parallel[{place}]"
            try:
                branches.append(self.step(one, where, known, depth=depth + 1, times=times))
                if twice := siblings & self._named:
                    raise InvalidPlan(f"{where} uses the id {min(twice)!r} again", param=where)
            finally:
                self._named |= siblings
        if (aggregate == "judge") != ("judge" in asked):
            raise InvalidPlan(f"{path}.judge goes with aggregate: judge", param=f"{path}.judge")
        judge = None
        if aggregate == "judge":
            judge = self._call(asked["judge"], f"{path}.judge", known | {"answers"}, times)
        return Parallel(tuple(branches), aggregate, judge)

    def _debate(
        self, asked: Mapping[str, Any], path: str, known: frozenset[str], times: int
    ) -> Debate:
        _only(asked, path, "debate", "rounds", "judge")
        rounds = _count(asked, path, "rounds", 2, MOST_ROUNDS)
        heard = known | {"answers"}
        speakers = tuple(
            self._call(one, f"{path}.debate[{place}]", heard, times * rounds, once=False)
            for place, one in enumerate(_list(asked, path, "debate"))
        )
        return Debate(
            speakers, rounds, self._call(asked.get("judge"), f"{path}.judge", heard, times)
        )

    def _delegate(
        self, asked: Mapping[str, Any], path: str, known: frozenset[str], depth: int, times: int
    ) -> Delegate:
        _only(asked, path, "delegate", "worker", "combine", "width")
        width = _count(asked, path, "width", 8, MOST_CALLS)
        return Delegate(
            self._call(asked["delegate"], f"{path}.delegate", known | {"width"}, times),
            self.step(
                asked.get("worker"),
                f"{path}.worker",
                known | {"task"},
                depth=depth + 1,
                times=times * width,
            ),
            self._call(asked.get("combine"), f"{path}.combine", known | {"answers"}, times),
            width,
        )

    def _try(
        self, asked: Mapping[str, Any], path: str, known: frozenset[str], depth: int, times: int
    ) -> Try:
        _only(asked, path, "try", "check", "fallback")
        named = set(self._named)
        tried = self.step(asked["try"], f"{path}.try", known, depth=depth + 1, times=times)
        self._named = set(named)  # whether it gives its names is not sure
        check = self._check(asked.get("check", {}), f"{path}.check", known, times)
        self._named = set(named)  # nor whether a judge is asked
        if check.confidence and not _votes(tried):
            param = f"{path}.check.confidence"
            raise InvalidPlan(f"{param} goes with a step that ends in a vote", param=param)
        failed = known | {"failed", "failure"}
        where = f"{path}.fallback"
        fallback = self.step(asked.get("fallback"), where, failed, depth=depth + 1, times=times)
        self._named = named
        return Try(tried, check, fallback)

    def _check(self, asked: Any, path: str, known: frozenset[str], times: int) -> Check:
        asked = _object(asked, path)
        _only(asked, path, "json_schema", "contains", "confidence", "judge")
        schema, contains = asked.get("json_schema"), asked.get("contains", [])
        if schema is not None and (why := uncheckable(_object(schema, f"{path}.json_schema"))):
            raise InvalidPlan(f"{path}.json_schema {why}", param=f"{path}.json_schema")
        if not isinstance(contains, list):
            raise InvalidPlan(f"{path}.contains must be an array", param=f"{path}.contains")
        wanted = [_text(one, f"{path}.contains[{n}]") for n, one in enumerate(contains)]
        share = asked.get("confidence", 0.0)
        if type(share) not in {int, float} or not 0 <= share <= 1:
            param = f"{path}.confidence"
            raise InvalidPlan(f"{param} must be a number from 0 to 1", param=param)
        judge = None
        if "judge" in asked:
            judge = self._call(asked["judge"], f"{path}.judge", known | {"answer"}, times)
        return Check(schema, tuple(wanted), float(share), judge)

    def _call(
        self, asked: Any, path: str, known: frozenset[str], times: int, *, once: bool = True
    ) -> Call:
        asked = _object(asked, path)
        self._calls += times
        if self._calls > MOST_CALLS:
            raise InvalidPlan(f"{path} makes it more than {MOST_CALLS} calls", param=path)
        for field in _NOT_IN_A_STEP:
            if field in asked:
                raise InvalidPlan(f"{path}.{field} is not for a step", param=f"{path}.{field}")
        body = self._body(asked, path)
        literal = asked.get("literal", False)
        if not isinstance(literal, bool):
            raise InvalidPlan(f"{path}.literal must be true or false", param=f"{path}.literal")
        uses = () if literal else tuple(NAME.findall(texts(body["messages"])))
        for name in uses:
            if name not in known:
                raise InvalidPlan(
                    f"{path} uses {{{{{name}}}}}, which nothing before it gives", param=path
                )
        attempts = _count(asked, path, "attempts", 1, MOST_ATTEMPTS)
        name = self._name(asked, path, once=once and times == 1)
        return Call(body, attempts, name, literal, asked.get("agent"), uses)

    def _body(self, asked: Mapping[str, Any], path: str) -> dict[str, Any]:
        agent = asked.get("agent")
        if agent is not None and (not isinstance(agent, str) or agent not in self._agents):
            raise InvalidPlan(f"{path}.agent {agent!r} is unknown", param=f"{path}.agent")
        fields = {**(self._agents[agent] if agent is not None else {}), **asked}
        if ("prompt" in asked) == ("messages" in asked):
            raise InvalidPlan(f"{path} must have either prompt or messages", param=path)
        messages = asked.get("messages")
        if messages is None:
            messages = [{"role": "user", "content": _text(asked["prompt"], f"{path}.prompt")}]
        if not isinstance(messages, list):
            raise InvalidPlan(f"{path}.messages must be an array", param=f"{path}.messages")
        if (system := fields.get("system")) is not None:
            told = {"role": "system", "content": _text(system, f"{path}.system")}
            messages = [told, *messages]
        own = {name: value for name, value in fields.items() if name not in _OUR_FIELDS}
        return {"model": "auto", **own, "messages": messages}

    def _name(self, asked: Mapping[str, Any], path: str, *, once: bool) -> str | None:
        name = asked.get("id")
        if name is None:
            return None
        param = f"{path}.id"
        if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
            raise InvalidPlan(f"{param} must be lower-case letters, digits and _", param=param)
        if not once:
            raise InvalidPlan(f"{param}: a step that runs several times has none", param=param)
        if name in self._named or name in _EVERYWHERE | _GIVEN:
            raise InvalidPlan(f"{param} {name!r} is taken", param=param)
        self._named.add(name)
        return name


def _votes(step: Step) -> bool:
    """Return whether what a step gives has the share that agreed."""
    match step:
        case Parallel():
            return step.aggregate == "vote"
        case Chain():
            return _votes(step.steps[-1])
        case Try():
            return _votes(step.step) or _votes(step.fallback)
    return False


def _agents(asked: Any) -> Agents:
    agents = {
        name: _object(one, f"agents.{name}") for name, one in _object(asked, "agents").items()
    }
    for name, fields in agents.items():
        if wrong := _NOT_IN_AN_AGENT & set(fields):
            param = f"agents.{name}.{min(wrong)}"
            raise InvalidPlan(f"{param} is not for an agent", param=param)
    return agents


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidPlan(f"{path} must be an object", param=path)
    return value


def _only(asked: Mapping[str, Any], path: str, *fields: str) -> None:
    for field in asked:
        if field not in fields:
            raise InvalidPlan(f"{path}.{field} is unknown", param=f"{path}.{field}")


def _list(asked: Mapping[str, Any], path: str, field: str) -> list[Any]:
    value = asked[field]
    param = f"{path}.{field}"
    if not isinstance(value, list) or not 0 < len(value) <= MOST_CALLS:
        raise InvalidPlan(f"{param} must be an array of 1 to {MOST_CALLS} steps", param=param)
    return value


def _count(asked: Mapping[str, Any], path: str, field: str, default: int, most: int) -> int:
    value = asked.get(field, default)
    if type(value) is not int or not 0 < value <= most:
        param = f"{path}.{field}"
        raise InvalidPlan(f"{param} must be a whole number from 1 to {most}", param=param)
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidPlan(f"{path} must be a text that is not empty", param=path)
    return value
