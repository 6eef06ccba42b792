import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compass_ray import __version__, model_file, processes
from compass_ray.cli import app
from compass_ray.policy.books import apply
from compass_ray.storage.ledger import LedgerStore
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Sync
from compass_ray.types.usage import Usage

TOY = """
from ray import serve


class Toy:
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"data": []}'})


@serve.deployment(ray_actor_options={"num_cpus": 0})
@serve.ingress(Toy())
class Gateway:
    pass


def build(args):
    if "fail" in args:
        raise ValueError(args["fail"])
    return Gateway.bind()
"""

SERVE_CONFIG = """
http_options: {{host: 127.0.0.1, port: {port}}}
applications:
- name: toy
  import_path: toy_gateway:build
  args: {args}
"""

FOREIGN_RAY = """
import sys, ray
context = ray.init(address="local", include_dashboard=False, num_cpus=1, _temp_dir=sys.argv[1])
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
assert ray.nodes()[0]["Alive"]
assert ray.util.list_named_actors(True) == []
"""


def compass(*arguments):
    return CliRunner().invoke(app, arguments)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_it_says_its_version():
    assert compass("--version").output == f"compass {__version__}\n"


def test_it_is_a_module_too():
    command = [sys.executable, "-m", "compass_ray", "--version"]

    assert subprocess.check_output(command, text=True) == f"compass {__version__}\n"


def test_the_command_line_starts_without_ray_and_the_simulator():
    code = "import sys, compass_ray.cli; sys.exit(bool({'ray', 'aiohttp'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_file_is_one_red_line_and_exit_code_2(tmp_path):
    result = compass("run", "--serve-config", str(tmp_path / "none.yaml"))

    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/none.yaml: No such file or directory\n"


def test_a_folder_without_serve_configuration_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compass_ray.cli.__file__", str(tmp_path / "package" / "cli.py"))

    result = compass("run")

    assert result.exit_code == 2
    assert "--serve-config" in result.stderr


@pytest.mark.server
def test_a_taken_port_names_who_has_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        result = compass("run", "--port", str(port))

    assert result.exit_code == 2
    assert f"port {port} is taken by" in result.stderr
    assert f"(process {os.getpid()})" in result.stderr


def test_fetching_a_model_that_is_there_says_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "fetch", lambda _progress: tmp_path / "model.gguf")

    assert compass("fetch-model").output == f"{tmp_path}/model.gguf\n"


def test_the_simulator_s_own_options_are_those_of_simulate():
    result = compass("simulate", "--help")

    assert result.exit_code == 0
    assert "usage: compass simulate" in result.output
    assert all(option in result.output for option in ("--port", "--seed", "--script"))


def test_a_wrong_option_of_the_simulator_is_a_mistake():
    result = compass("simulate", "--prot", "1")

    assert result.exit_code == 2
    assert "compass simulate: error: unrecognized arguments: --prot 1" in result.stderr


def test_settings_that_would_be_accepted_are_counted(tmp_path):
    file = tmp_path / "compass.yaml"
    file.write_text("server: {max_tools: 2}")

    result = compass("config", "check", str(file))

    assert result.exit_code == 0
    assert re.fullmatch(r"ok: \d+ providers, \d+ endpoints, \d+ accounts, 0 keys\n", result.output)


@pytest.fixture
def books(tmp_path):
    """A ledger's file with one request in it."""
    file = tmp_path / "ledger.db"
    reservation = Reservation("req_1/0", ("acme@lifetime",), 2_000_000, 1.0)
    paid = Settlement(reservation, "settled", 1_234_567, "openai", "gpt", Usage(3, 4), 2.0)
    with closing(LedgerStore(file)) as store:
        changes, _ = apply(store.load(), {}, [Sync("r1", 1, (paid,))], set(), 0.0)
        store.commit(changes)
    return file


def test_books_that_add_up_are_said_to(books):
    result = compass("ledger", "audit", "--file", str(books))

    assert result.exit_code == 0
    assert re.search(r"acme@lifetime +1\.234567 +0\.000000 +1", result.output)
    assert re.search(r"openai/gpt +1\.234567 +1\.234567", result.output)
    assert "every sum agrees" in result.output


def test_books_that_do_not_add_up_end_with_an_error(books):
    with closing(sqlite3.connect(books)) as db, db:
        db.execute("UPDATE buckets SET spent = 1")

    result = compass("ledger", "audit", "--file", str(books))

    assert result.exit_code == 1
    assert "acme@lifetime has spent 1, its postings are 1234567" in result.stderr


def test_a_request_s_postings_are_printed(books):
    result = compass("ledger", "explain", "req_1", "--file", str(books))

    assert json.loads(result.output)["cost"] == 1_234_567


def test_the_books_are_compared_with_what_the_provider_reports(books, tmp_path):
    export = tmp_path / "usage.csv"
    export.write_text("day,model,input_tokens,cost_usd\n1970-01-01,gpt,3,1.2\n")

    exact = compass("ledger", "drift", "openai", str(export), "--file", str(books))
    roughly = compass(
        "ledger", "drift", "openai", str(export), "--file", str(books), "--tolerance", "3"
    )

    assert exact.exit_code == 1
    assert re.search(r"1970-01-01 +gpt +cost +1\.234567 +1\.200000 +\+2\.88%", exact.output)
    assert "1 of 2 figures differ by more than 1 %" in exact.stderr
    assert roughly.exit_code == 0
    assert "all 2 figures agree within 3 %" in roughly.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("drift", "openai", "{tmp}/text.db", "--file", "{tmp}/ledger.db"), "tells of no usage"),
        (("audit", "--file", "{tmp}/none.db"), "there is no ledger at"),
        (("audit", "--file", "{tmp}/text.db"), "not a database"),
        (("explain", "req_2", "--file", "{tmp}/ledger.db"), "no postings of 'req_2'"),
    ],
)
def test_what_the_ledger_cannot_tell_is_a_mistake(books, tmp_path, arguments, told):
    (tmp_path / "text.db").write_text("no database " * 100)

    result = compass("ledger", *(one.format(tmp=tmp_path) for one in arguments))

    assert result.exit_code == 2
    assert told in result.stderr.replace("\n", " ")


def test_a_wrong_setting_is_named_with_its_place(tmp_path):
    file = tmp_path / "compass.yaml"
    file.write_text("server:\n  max_toys: 2")

    result = compass("config", "check", str(file))

    assert result.exit_code == 2
    assert f"{file}:2: server.max_toys" in result.stderr


def test_nothing_is_started_with_wrong_settings(tmp_path):
    (tmp_path / "compass.yaml").write_text("server:\n  max_toys: 2")

    result = compass("run", "--config", str(tmp_path / "compass.yaml"))

    assert result.exit_code == 2
    assert "compass.yaml:2: server.max_toys" in result.stderr


def test_settings_inside_the_serve_configuration_are_checked_too(tmp_path):
    file = tmp_path / "serve.yaml"
    application = "{import_path: deployments.gateway:build, args: {toys: 1}}"
    file.write_text(f"applications: [{application}]")

    result = compass("run", "--serve-config", str(file))

    assert result.exit_code == 2
    assert "toys" in result.stderr


def test_the_schema_of_the_settings_is_json():
    schema = json.loads(compass("config", "schema").output)

    assert "server" in schema["properties"]


def test_a_new_key_comes_with_its_hash():
    words = compass("key", "new").output.split()

    key, digest = words[words.index("key:") + 1], words[words.index("hash:") + 1]
    assert CliRunner().invoke(app, ["key", "hash"], input=f"{key}\n").output == f"{digest}\n"


def test_hashing_no_key_is_a_mistake():
    assert compass("key", "hash").exit_code == 2


class Run:
    """`compass run` as a user starts it, with a toy in the gateway's place."""

    def __init__(self, folder, environment=None, args="{}"):
        (folder / "toy_gateway.py").write_text(TOY)
        config = folder / "toy.yaml"
        config.write_text(SERVE_CONFIG.format(port=free_port(), args=args))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "compass_ray", "run", "--serve-config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        self.output = ""
        self.session = 0

    def read_until(self, pattern):
        """Return the match, and remember the session of what `compass run` started."""
        for line in self.process.stdout:
            self.output += line
            if match := re.search(pattern, line):
                children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
                self.session = int(children.read_text().split()[0])
                return match[1]
        raise AssertionError(f"no {pattern!r} in {self.output}")

    def finish(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        self.output += self.process.stdout.read()
        return self.process.wait()

    def left_behind(self, within):
        """Return the processes that are left after at most `within` seconds."""
        deadline = time.monotonic() + within
        while (left := processes.members(self.session)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


@pytest.fixture
def start(tmp_path):
    runs = []

    def start(*arguments, **named):
        runs.append(Run(tmp_path, *arguments, **named))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()
        run.process.stdout.close()
        if run.session:
            processes.end(run.session, grace=0.0)


@pytest.fixture
def foreign_ray():
    """Another Ray of this machine, which must not notice anything."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder,  # Unix sockets: short
        subprocess.Popen(
            [sys.executable, "-c", FOREIGN_RAY, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        yield process
        process.stdin.close()
        process.wait()
        processes.end(process.pid, grace=5.0)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_an_interrupt_leaves_no_process_behind_and_a_foreign_ray_alone(start, foreign_ray):
    run = start({"RAY_ADDRESS": foreign_ray.stdout.readline().strip()})
    log_file = Path(run.read_until(r"Log: (\S+)\. Ctrl-C"))
    running = processes.members(run.session)

    assert len(running) > 8
    assert any("haproxy" in Path(f"/proc/{pid}/cmdline").read_text() for pid in running)
    assert run.finish(signal.SIGINT) == 0
    assert run.left_behind(within=0) == []
    assert not log_file.parent.exists()
    foreign_ray.stdin.close()
    assert foreign_ray.wait() == 0


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_being_killed_leaves_no_process_behind(start):
    run = start()
    log_file = Path(run.read_until(r"Log: (\S+)\. Ctrl-C"))

    assert run.finish(signal.SIGKILL) == -signal.SIGKILL
    assert run.left_behind(within=30) == []
    shutil.rmtree(log_file.parent)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_it_can_be_stopped_while_it_starts(start):
    run = start()
    run.read_until("(starting Ray Serve)")

    assert run.finish(signal.SIGTERM) == 0
    assert run.left_behind(within=0) == []


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_gateway_that_cannot_be_built_is_explained_and_ended(start):
    run = start(args="{fail: 'compass.yaml:3: no such kind'}")
    run.read_until("(starting Ray Serve)")

    assert run.finish() == 1
    assert "the gateway could not be deployed" in run.output
    assert "ValueError: compass.yaml:3: no such kind" in run.output
    assert "Traceback" not in run.output
    assert run.left_behind(within=0) == []
    shutil.rmtree(re.search(r"all logs: (\S+)", run.output)[1])
