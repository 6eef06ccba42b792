"""The command `compass`: run the gateway on this machine, and the chores around it.

A user's mistake is one red line and exit code 2; a program that failed is exit code 1.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from compass_ray import __version__, model_file, welcome
from compass_ray.local_cluster import ClusterFailed, LocalCluster
from compass_ray.types.errors import CompassError, ConfigError

_SERVE_CONFIG = "serve_config.yaml"
_out = Console()
_err = Console(stderr=True)

app = typer.Typer(
    help="Compass: an AI gateway on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
        settings = {"COMPASS_DASHBOARD": "1"} if dashboard else {}
        if config is not None:
            settings["COMPASS_CONFIG"] = str(config.resolve(strict=True))
        cluster = LocalCluster(_serve_config(serve_config), port=port, settings=settings)
        try:
            model_file.fetch(_say)
        except CompassError as error:
            _complain(f"going on without the local model: {error}")
        _serve(cluster, timeout)


@app.command("fetch-model")
def fetch_model() -> None:
    """Download the local model once (98 MB); says where it lies."""
    with _mistakes():
        typer.echo(model_file.fetch(_say))


def _serve(cluster: LocalCluster, timeout: float) -> None:
    """Run `cluster` until it fails or a signal comes; leave no process behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    keep_log = False
    try:
        cluster.start()
        with _progress() as progress:
            cluster.wait_ready(timeout, progress)
        welcome.show(_out, cluster.url, cluster.log_file)
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


def _serve_config(given: Path | None) -> Path:
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
