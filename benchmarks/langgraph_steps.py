"""The same steps by plain asyncio and by LangGraph, in LangGraph's own environment.

    python langgraph_steps.py URL PROMPT SLOW_PROMPT STEPS WIDTH

prints the seconds of each as JSON; the fan-out asks the slow prompt. LangGraph keeps its
checkpoints in SQLite and has each on disk before the next step (`durability="sync"`), as Compass
has its events.
"""

import asyncio
import json
import operator
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import aiohttp
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

MOST_AT_ONCE = 64
"""As Compass: so many calls at the same time."""

Ask = Callable[[str], Awaitable[str]]


class Told(TypedDict):
    """The state of a chain."""

    text: str


class Gathered(TypedDict):
    """The state of a fan-out."""

    texts: Annotated[list[str], operator.add]


async def chain(ask: Ask, text: str, steps: int) -> None:
    """One call after the other; each is told the last answer."""
    for _ in range(steps):
        text = await ask(text)


async def fan_out(ask: Ask, text: str, width: int) -> None:
    """All calls at once, as far as allowed."""
    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def one() -> str:
        async with room:
            return await ask(text)

    await asyncio.gather(*(one() for _ in range(width)))


def graph_of_chain(ask: Ask, steps: int) -> StateGraph:
    """Return as many nodes as there are steps, one after the other."""

    async def node(state: Told) -> Told:
        return {"text": await ask(state["text"])}

    graph = StateGraph(Told)
    names = [f"step{number}" for number in range(steps)]
    for name in names:
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def graph_of_fan(ask: Ask, text: str, width: int) -> StateGraph:
    """Return one node that is sent to as often as the fan is wide."""

    async def node(_state: Told) -> Gathered:
        return {"texts": [await ask(text)]}

    graph = StateGraph(Gathered)
    graph.add_node("one", node)
    graph.add_conditional_edges(START, lambda _: [Send("one", {"texts": []})] * width, ["one"])
    graph.add_edge("one", END)
    return graph


async def run(graph: StateGraph, start: dict[str, Any], folder: Path, most: int) -> float:
    """Return the seconds of one durable run."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / f"{time.time_ns()}.db")) as saver:
        await saver.setup()
        compiled = graph.compile(checkpointer=saver)
        config = {
            "configurable": {"thread_id": "1"},
            "recursion_limit": most + 10,
            "max_concurrency": MOST_AT_ONCE,
        }
        began = time.perf_counter()
        await compiled.ainvoke(start, config, durability="sync")
        return time.perf_counter() - began


async def timed(work: Awaitable[None]) -> float:
    """Return the seconds it takes."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def main(url: str, text: str, slow: str, steps: int, width: int) -> None:
    """Measure all four ways, each once; the connections are warm."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=MOST_AT_ONCE)) as http:

        async def ask(text: str) -> str:
            body = {
                "model": "bench",
                "max_tokens": 256,
                "messages": [{"role": "user", "content": text}],
            }
            async with http.post(f"{url}/v1/chat/completions", json=body) as response:
                told = await response.json()
                return str(told["choices"][0]["message"]["content"])

        await fan_out(ask, text, MOST_AT_ONCE)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            figures = {
                "asyncio": {
                    "chain": await timed(chain(ask, text, steps)),
                    "fan": await timed(fan_out(ask, slow, width)),
                },
                "LangGraph": {
                    "chain": await run(graph_of_chain(ask, steps), {"text": text}, folder, steps),
                    "fan": await run(graph_of_fan(ask, slow, width), {"texts": []}, folder, width),
                },
            }
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
