"""What a newcomer sees when the gateway is up: who can answer, and a first request to paste."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

_POLL_SECONDS = 0.2
_NOTHING_KNOWN = {
    "name": "?",
    "configured": False,
    "waits_for": (),
    "healthy": None,
    "detail": "",
}


class Unknown(Exception):
    """The gateway does not tell who can answer."""


def wait_for_providers(url: str, number: int, timeout: float) -> None:
    """Return when so many providers can be called or say what they lack; bounded by `timeout`.

    The gateway is healthy before it knows whom it can call, and a local engine loads its model.
    """
    deadline = time.monotonic() + timeout
    with contextlib.suppress(Unknown):
        while time.monotonic() < deadline:
            settled = [one for one in _providers(url) if one["configured"] or one["waits_for"]]
            if len(settled) >= number:
                return
            time.sleep(_POLL_SECONDS)


def show(console: Console, url: str, joining: Mapping[str, str], log_file: Path) -> None:
    """Print the state of the gateway at `url`, and with which variables Python joins its Ray."""
    console.print(f"\n[bold green]Compass is ready[/] at [bold]{url}[/]\n", highlight=False)
    try:
        lines = [_provider_line(provider) for provider in _providers(url)]
    except Unknown as exc:
        lines = [escape(str(exc))]
    for line in lines:
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print(_first_request(url), highlight=False, soft_wrap=True, markup=False)
    variables = " ".join(f"{name}={value}" for name, value in joining.items())
    console.print(
        f"From Python on this Ray: {variables} .venv/bin/python examples/handle.py",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Log: {log_file}. Ctrl-C stops everything.", highlight=False, soft_wrap=True)


def _providers(url: str) -> list[Mapping[str, Any]]:
    try:
        response = httpx.get(f"{url}/api/v1/providers", timeout=5.0, trust_env=False)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise Unknown("callers need a key: send it as `Authorization: Bearer ...`")
        response.raise_for_status()
        return [{**_NOTHING_KNOWN, **provider} for provider in response.json()["data"]]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as exc:
        raise Unknown(f"the providers cannot be listed: {exc!r}") from exc


def _provider_line(provider: Mapping[str, Any]) -> str:
    name = escape(f"{provider['name']:<14}")
    if not provider["configured"]:
        variables = escape(" or ".join(provider["waits_for"]))
        state = f"waits for {variables}" if variables else f"not ready {escape(provider['detail'])}"
        return f"[dim]{name} {state}[/]"
    if provider["healthy"] is False:
        return f"{name} [red]not healthy[/] {escape(provider['detail'])}"
    return f"{name} [green]configured[/]"


def _first_request(url: str) -> str:
    return f"""
Try it:

  curl {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is Ray?"}}]}}'

or in Python:

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="none")
  print(client.chat.completions.create(
      model="auto", messages=[{{"role": "user", "content": "What is Ray?"}}]
  ).choices[0].message.content)
"""
