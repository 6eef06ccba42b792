"""Foreign clients against the gateway: `python -m tests.clients [NAME ...]`.

Each client is unmodified, in its own environment with locked versions, and finds the gateway as it
finds its own provider: by `OPENAI_BASE_URL`, `ANTHROPIC_API_KEY` and the like. The gateway is what
Ray Serve serves, with all its actors, on a socket of its own but without Ray: it is up in seconds,
a client cannot tell the difference, and what Ray adds is what tests/integration is about.
"""

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tests.doors.conftest import serving

from .client import Client, Failed, Missing, Outcome

_ROOT = Path(__file__).parent
_COLUMNS = "{:<18}{:<34}{:>8}{:>8}{:>9}{:>10}"


def main() -> int:
    """Run the clients and print the table; 1: a client failed, or could not be had in CI."""
    every = {client.name: client for client in _clients()}
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(every)}")
    names = parser.parse_args().names or list(every)
    if unknown := [name for name in names if name not in every]:
        parser.error(f"no such client: {', '.join(unknown)}")
    wanted = [every[name] for name in names]
    with ThreadPoolExecutor(4) as pool:
        prepared = dict(zip(names, pool.map(_prepare, wanted), strict=True))
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="clients-") as folder, serving(Path(folder)) as gateway:
        gateway.simulator.script(yaml.safe_load((_ROOT / "script.yaml").read_text()))
        for client in wanted:
            trouble = prepared[client.name]
            outcome = trouble or client.run(gateway.url, gateway.key, Path(folder))
            outcomes.append(outcome)
            if outcome.output:
                print(f"-- {client.name}\n{outcome.output}", flush=True)
    _table(wanted, outcomes)
    return 1 if any(_is_bad(outcome) for outcome in outcomes) else 0


def _clients() -> list[Client]:
    files = [*_ROOT.glob("*/requirements.txt"), *_ROOT.glob("*/package.json")]
    environments = _ROOT.parents[1] / ".clients"
    return [Client(file.parent, environments / file.parent.name) for file in sorted(files)]


def _prepare(client: Client) -> Outcome | None:
    try:
        client.install()
    except Missing as missing:
        return Outcome(trouble=f"skipped: {missing}", missing=True)
    except Failed as failed:
        return Outcome(trouble="not installed", output=str(failed))
    return None


def _is_bad(outcome: Outcome) -> bool:
    if outcome.missing:
        return os.environ.get("CI") == "true"
    return not outcome.passed or outcome.failed > 0


def _table(clients: list[Client], outcomes: list[Outcome]) -> None:
    print(_COLUMNS.format("client", "version", "passed", "failed", "skipped", "seconds"))
    for client, told in zip(clients, outcomes, strict=True):
        figures = (told.passed, told.failed, told.skipped, f"{told.seconds:.1f}")
        print(_COLUMNS.format(client.name, client.version(), *figures), told.trouble)


if __name__ == "__main__":
    sys.exit(main())
