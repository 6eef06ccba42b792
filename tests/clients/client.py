"""One foreign client: a folder with locked requirements and tests in the client's own language."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_INSTALL_SECONDS = 400.0
_RUN_SECONDS = 240.0
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")


class Missing(Exception):
    """A program that this machine lacks."""


class Failed(Exception):
    """An installation that went wrong; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many of a client's tests ended how; `output` is told where one failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    trouble: str = ""
    output: str = ""
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """What is in one folder: Python where it has requirements.txt, Node where package.json."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    def version(self) -> str:
        """Return what is locked of the packages that were asked for by the folder's own file."""
        if self._is_node():
            packages = json.loads((self.folder / "package-lock.json").read_text())["packages"]
            asked = packages[""]["dependencies"]
            locked = {name: packages[f"node_modules/{name}"]["version"] for name in asked}
        else:
            asked = (self.folder / "requirements.in").read_text().split()
            text = (self.folder / "requirements.txt").read_text()
            locked = dict(re.findall(r"^([\w.-]+)(?:\[.*])?==([\w.]+)", text, re.MULTILINE))
        first = re.sub(r"\[.*]", "", next(iter(asked)))
        return f"{first} {locked[first]}"

    def install(self) -> None:
        """Build the client's environment, unless it is there with the same lock.

        Raises:
            Missing: Node is not on this machine.
            Failed: the environment could not be built.
        """
        lock = self.folder / ("package-lock.json" if self._is_node() else "requirements.txt")
        home = self.folder / ("node_modules" if self._is_node() else ".venv")
        if self._is_node():
            self._find_node()
        stamp = home / "installed-lock"
        if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
            return
        for command in self._installation():
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS
            )
            if done.returncode:
                raise Failed(done.stdout + done.stderr)
        stamp.write_bytes(lock.read_bytes())

    def run(self, url: str, key: str, folder: Path) -> Outcome:
        """Run its tests against the gateway at `url`; the report goes to `folder`."""
        report = folder / f"{self.name}.xml"
        started = time.monotonic()
        try:
            done = subprocess.run(
                self._command(report),
                cwd=self.folder,
                env=_environment(url, key),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_RUN_SECONDS,
            )
        except subprocess.TimeoutExpired as expired:
            told = expired.stdout.decode() if expired.stdout else ""
            return Outcome(trouble="ran too long", output=told)
        passed, failed, skipped = _counted(report)
        bad = bool(done.returncode)
        return Outcome(
            passed,
            max(failed, bad),
            skipped,
            time.monotonic() - started,
            output=done.stdout if bad else "",
        )

    def _is_node(self) -> bool:
        return (self.folder / "package.json").exists()

    def _find_node(self) -> str:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise Missing(f"{program} is not installed")
        return "node"

    def _installation(self) -> list[list[str]]:
        if self._is_node():
            return [["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]]
        uv = str(Path(sys.executable).with_name("uv"))
        return [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, ".venv"],
            [uv, "pip", "install", "--quiet", "--python", ".venv/bin/python"]
            + ["--require-hashes", "-r", "requirements.txt"],
        ]

    def _command(self, report: Path) -> list[str]:
        if self._is_node():
            return [
                *("node", "--test", "--test-reporter=spec", "--test-reporter-destination=stdout"),
                *("--test-reporter=junit", f"--test-reporter-destination={report}"),
            ]
        own = ["-c", "../pytest.ini", "--rootdir", ".", "--confcutdir", "."]
        return [".venv/bin/python", "-m", "pytest", "-q", *own, f"--junitxml={report}", "."]


def _environment(url: str, key: str) -> Mapping[str, str]:
    """Return what a user of the client would set, and nothing of the developer's shell."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": key,
    }


def _counted(report: Path) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped, by a JUnit report."""
    if not report.exists():
        return 0, 0, 0
    cases = list(ET.parse(report).iter("testcase"))
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = sum(any(case.find(bad) is not None for bad in ("failure", "error")) for case in cases)
    return len(cases) - skipped - failed, failed, skipped
