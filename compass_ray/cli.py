"""The command `compass`: run the gateway on this machine, and the chores around it.

A user's mistake is one red line and exit code 2; a program that failed is exit code 1.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from compass_ray import __version__, dry_run, model_file, welcome
from compass_ray import serve_config as serve_config_file
from compass_ray.config import hash_key, json_schema, load, new_key
from compass_ray.config.sources import FILE, FILE_VARIABLE
from compass_ray.local_cluster import ClusterFailed, LocalCluster
from compass_ray.policy.budget import parse
from compass_ray.policy.drift import drift
from compass_ray.routing_tables import show_comparison, show_decision
from compass_ray.serve_config import ServeConfig
from compass_ray.settings import Settings
from compass_ray.storage import usage_export
from compass_ray.storage.audit import audit, explain, usage
from compass_ray.types.errors import CompassError, ConfigError
from compass_ray.types.usage import dollars

_SERVE_CONFIG = "serve_config.yaml"
_GATEWAY = "deployments.gateway:build"
_PROVIDERS_TIMEOUT = 30.0
_URL = "http://127.0.0.1:8000"
_out = Console()
_err = Console(stderr=True)

app = typer.Typer(
    help="Compass: an AI gateway on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

keys = typer.Typer(help="API keys of callers.", no_args_is_help=True)
app.add_typer(keys, name="key")

configuration = typer.Typer(help="Settings of Compass.", no_args_is_help=True)
app.add_typer(configuration, name="config")

ledger = typer.Typer(
    help="The books: who spent what, and whether it adds up.", no_args_is_help=True
)
app.add_typer(ledger, name="ledger")

LedgerFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="By default ledger.db in the state folder."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings of Compass, as in compass.yaml."),
]


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    """Say the version, or leave it to the command."""
    if version:
        typer.echo(f"compass {__version__}")
        raise typer.Exit


@app.command()
def run(
    config: ConfigFile = None,
    serve_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ray Serve's configuration."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Instead of the configured port.")
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start Ray's dashboard too, on port 8265.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds in which the gateway has to be ready.")
    ] = 180,
) -> None:
    """Start Ray and the gateway on this machine; Ctrl-C ends both."""
    with _mistakes():
        file = _serve_config_file(serve_config)
        content = serve_config_file.read(file, port)
        variables = _settings_file(config)
        settings = _gateway_settings(content, {**os.environ, **variables})
        if dashboard:
            variables["COMPASS_DASHBOARD"] = "1"
        cluster = LocalCluster(content, import_from=file.resolve().parent, settings=variables)
    if settings is not None and _needs_model(settings):
        try:
            model_file.fetch(_say)
        except CompassError as error:
            _complain(f"going on without the local model: {error}")
    _serve(cluster, 0 if settings is None else len(settings.providers), timeout)


@app.command("fetch-model")
def fetch_model() -> None:
    """Download the local model once (98 MB); says where it lies."""
    with _mistakes():
        typer.echo(model_file.fetch(_say))


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def simulate(context: typer.Context) -> None:
    """Serve the wires of all providers, with faults by script."""
    # Slow to import, and only needed here. It knows its own options, --help among them.
    from compass_ray.simulator.__main__ import main as serve_simulator  # noqa: PLC0415

    serve_simulator(context.args, "compass simulate")


@app.command()
def route(
    text: Annotated[str, typer.Argument(help="What a caller would ask.")],
    model: Annotated[str, typer.Option(help="auto, or a model's name.")] = "auto",
    url: Annotated[str, typer.Option(help="Of the gateway that is asked.")] = _URL,
    local: Annotated[
        bool, typer.Option("--local", help="Ask no gateway: decide by the configuration alone.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Show which model would be chosen for a text, and why, without calling it.

    The caller's key is read from COMPASS_API_KEY.
    """
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    with _mistakes():
        if local:
            told = dry_run.decide(_configured(config), os.environ, body)
        else:
            told = dry_run.ask(url, os.environ.get("COMPASS_API_KEY"), body)
    show_decision(_out, told)


@app.command("simulate-routing")
def simulate_routing(
    weights: Annotated[
        str,
        typer.Option(help="Such as cost=0.4,latency=0.1; the others share the rest as configured."),
    ],
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="By default decisions.db in the state folder."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Decide recorded traffic again under other weights: what changes, and at what price."""
    with _mistakes():
        found = dry_run.simulate(_configured(config), weights, file)
    show_comparison(_out, found)


@configuration.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="By default $COMPASS_CONFIG or ./compass.yaml.")
    ] = None,
) -> None:
    """Say whether Compass would accept these settings, and where they are wrong."""
    with _mistakes():
        named = {} if file is None else {FILE_VARIABLE: str(file)}
        settings = load(env={**os.environ, **named})
    typer.echo(
        f"ok: {len(settings.providers)} providers, {len(settings.endpoints)} endpoints, "
        f"{len(settings.accounts)} accounts, {len(settings.callers)} keys"
    )


@configuration.command()
def schema() -> None:
    """Print the JSON schema of compass.yaml, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


@keys.command()
def new() -> None:
    """Make an API key: the key for the caller, the hash for compass.yaml."""
    plain, digest = new_key()
    typer.echo(f"key:  {plain}   (give it to the caller; it is not kept)")
    typer.echo(f"hash: {digest}   (put it under `keys` in compass.yaml)")


@keys.command("hash")
def digest() -> None:
    """Print the hash of a key that is typed in, or piped in, but never an argument."""
    if sys.stdin.isatty():
        plain = typer.prompt("key", hide_input=True)
    else:
        plain = sys.stdin.readline().rstrip("\n")
    with _mistakes():
        if not plain:
            raise ConfigError("no key was given")
        typer.echo(hash_key(plain))


@ledger.command("audit")
def audit_ledger(file: LedgerFile = None) -> None:
    """Add up all postings, compare the sums with the books, and say what does not agree."""
    with _mistakes():
        found = audit(_ledger_file(file))
    table = Table("bucket", "spent", "leased", "postings", box=None)
    for one in found.buckets:
        told = dollars if parse(one.bucket)[2] == "usd" else "{:,}".format
        table.add_row(one.bucket, told(one.spent), told(one.leased), f"{one.postings:,}")
    _out.print(table)
    paid = Table("paid for", "by the books", "by the postings", box=None)
    for payee in found.payees:
        paid.add_row(payee.payee, dollars(payee.paid), dollars(payee.posted))
    _out.print(paid)
    for mistake in found.mistakes:
        _complain(mistake)
    if found.mistakes:
        raise typer.Exit(1)
    _say(f"{len(found.buckets)} buckets, and every sum agrees with its postings")


@ledger.command("explain")
def explain_request(request_id: str, file: LedgerFile = None) -> None:
    """Print what each attempt of a request reserved and cost, as JSON lines."""
    with _mistakes():
        rows = explain(_ledger_file(file), request_id)
        if not rows:
            raise ConfigError(f"no postings of {request_id!r}")
    for row in rows:
        typer.echo(json.dumps(row))


@ledger.command("drift")
def report_drift(
    provider: Annotated[str, typer.Argument(help="As it is called in the configuration.")],
    export: Annotated[Path, typer.Argument(help="What the provider exports: JSON or CSV.")],
    tolerance: Annotated[float, typer.Option(help="Percent that is no mistake.")] = 1.0,
    file: LedgerFile = None,
) -> None:
    """Compare the books with what a provider says was used; an error beyond the tolerance."""
    with _mistakes():
        posted = usage(_ledger_file(file), provider)
        endpoints = (one for one in load().endpoints if one.provider == provider)
        models = {one.wire_model: one.model for one in endpoints}
        found = drift(posted, usage_export.read(export), models)
    table = Table("day", "model", "", "posted", "reported", "drift", box=None)
    beyond = [one for one in found if abs(one.share) * 100 > tolerance]
    for one in found:
        told = dollars if one.figure == "cost" else "{:,}".format
        style = "red" if one in beyond else None
        figures = (told(one.posted), told(one.reported), f"{one.share:+.2%}")
        table.add_row(one.day, one.model or "all", one.figure, *figures, style=style)
    _out.print(table)
    if beyond:
        _complain(f"{len(beyond)} of {len(found)} figures differ by more than {tolerance:g} %")
        raise typer.Exit(1)
    _say(f"all {len(found)} figures agree within {tolerance:g} %")


def _configured(file: Path | None) -> Settings:
    return load(env={**os.environ, **_settings_file(file)})


def _ledger_file(given: Path | None) -> Path:
    file = given or load().server.state_dir / "ledger.db"
    if not file.is_file():
        raise ConfigError(f"there is no ledger at {file}")
    return file


def _serve(cluster: LocalCluster, providers: int, timeout: float) -> None:
    """Run `cluster` until it fails or a signal comes; leave no process behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    keep_log = False
    try:
        cluster.start()
        with _progress() as progress:
            cluster.wait_ready(timeout, progress)
            progress("waiting for the providers")
            welcome.wait_for_providers(cluster.url, providers, _PROVIDERS_TIMEOUT)
        welcome.show(_out, cluster.url, cluster.joining, cluster.log_file)
        cluster.wait()
    except KeyboardInterrupt:
        _say("stopping")
    except ClusterFailed as error:
        keep_log = True
        _complain(str(error))
        _err.print(error.log, highlight=False, markup=False, soft_wrap=True)
        _err.print(f"all logs: {cluster.folder}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        with contextlib.suppress(KeyboardInterrupt):  # the second one means: at once
            cluster.drain()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        cluster.end(keep_log=keep_log)


def _settings_file(given: Path | None) -> dict[str, str]:
    """Return the variable that names the settings file, if there is one; absolute."""
    file = given or Path(FILE)
    if given is None and not file.exists():
        return {}
    return {FILE_VARIABLE: str(file.resolve(strict=True))}


def _gateway_settings(content: ServeConfig, env: Mapping[str, str]) -> Settings | None:
    """Return the checked settings of the gateway, where `content` serves it.

    Raises:
        ConfigError: names the file, the line and the key.
    """
    for application in content.get("applications") or []:
        if application.get("import_path") == _GATEWAY:
            return load(application.get("args") or {}, env)
    return None


def _needs_model(settings: Settings) -> bool:
    engines = [spec.engine for spec in settings.providers if spec.engine is not None]
    return any(engine.model_path is None for engine in engines)


def _serve_config_file(given: Path | None) -> Path:
    """Return the file given, the one of this folder, or the one that came with Compass."""
    if given is not None:
        return given
    package = Path(__file__).parent
    places = [Path.cwd(), package / "data", package.parent]
    for place in places:
        if (place / _SERVE_CONFIG).is_file():
            return place / _SERVE_CONFIG
    raise ConfigError(f"no {_SERVE_CONFIG} in this folder; name one with --serve-config")


@contextmanager
def _mistakes() -> Iterator[None]:
    """Turn an error into one red line and exit code 2."""
    try:
        yield
    except (CompassError, OSError) as error:
        _complain(str(error))
        raise typer.Exit(2) from None


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield what shows the current step: a spinner on a terminal, a line each elsewhere."""
    if not _out.is_terminal:
        yield _say
        return
    with _out.status("starting") as status:
        yield status.update


def _say(line: str) -> None:
    _out.print(line, highlight=False, markup=False, soft_wrap=True)


def _complain(line: str) -> None:
    _err.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
