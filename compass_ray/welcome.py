"""What a newcomer sees when the gateway is up: who can answer, and a first request to paste."""

from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape


def show(console: Console, url: str, log_file: Path) -> None:
    """Print the state of the gateway at `url`."""
    console.print(f"\n[bold green]Compass is ready[/] at [bold]{url}[/]\n", highlight=False)
    for line in _provider_lines(url):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print(_first_request(url), highlight=False, soft_wrap=True, markup=False)
    console.print(f"Log: {log_file}. Ctrl-C stops everything.", highlight=False, soft_wrap=True)


def _provider_lines(url: str) -> list[str]:
    try:
        response = httpx.get(f"{url}/api/v1/providers", timeout=5.0, trust_env=False)
        response.raise_for_status()
        providers: list[dict[str, Any]] = response.json()["data"]
    except (httpx.HTTPError, ValueError, LookupError) as exc:
        if isinstance(exc, httpx.HTTPStatusError) and exc.response.status_code in {401, 403}:
            return ["callers need a key: send it as `Authorization: Bearer ...`"]
        return [f"the providers cannot be listed: {escape(str(exc))}"]
    return [_provider_line(provider) for provider in providers]


def _provider_line(provider: dict[str, Any]) -> str:
    name = escape(f"{provider['name']:<14}")
    if not provider["configured"]:
        variables = escape(" or ".join(provider["waits_for"])) or "its settings"
        return f"[dim]{name} waits for {variables}[/]"
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
