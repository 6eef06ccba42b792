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
    """What is in `folder`: Python where it has requirements.txt, Node where package.json.

    Its environment is built in `home`.
    """

    folder: Path
    home: Path

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    def version(self) -> str:
        """Return the first package that was asked for, and its locked version."""
        if self._is_node():
            packages = json.loads((self.folder / "package-lock.json").read_text())["packages"]
            name = next(iter(packages[""]["dependencies"]))
            return f"{name} {packages[f'node_modules/{name}']['version']}"
        name = re.split(r"[\[\s]", (self.folder / "requirements.in").read_text())[0]
        locked = (self.folder / "requirements.txt").read_text()
        (version,) = re.findall(rf"^{name}(?:\[.*])?==([^ ]+)", locked, re.MULTILINE)
        return f"{name} {version}"

    def install(self) -> None:
        """Build the client's environment, unless it is there with the same lock.

        Raises:
            Missing: Node is not on this machine.
            Failed: the environment could not be built.
        """
        if self._is_node():
            for program in ("node", "npm"):
                if shutil.which(program) is None:
                    raise Missing(f"{program} is not installed")
        lock = self.folder / ("package-lock.json" if self._is_node() else "requirements.txt")
        stamp = self.home / "installed"
        if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
            return
        self.home.mkdir(parents=True, exist_ok=True)
        for command in self._installation():
            done = subprocess.run(
                command,
                check=False,
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
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
                check=False,
                cwd=self.home,
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
        output = done.stdout if bad else ""
        seconds = time.monotonic() - started
        return Outcome(passed, max(failed, bad), skipped, seconds, output=output)

    def _is_node(self) -> bool:
        return (self.folder / "package.json").exists()

    def _installation(self) -> list[list[str]]:
        if self._is_node():
            for file in self.folder.glob("package*.json"):
                shutil.copy(file, self.home)
            return [["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]]
        uv = str(Path(sys.executable).with_name("uv"))
        locked = ["--require-hashes", "-r", str(self.folder / "requirements.txt")]
        return [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, "."],
            [uv, "pip", "install", "--quiet", "--python", "bin/python", *locked],
        ]

    def _command(self, report: Path) -> list[str]:
        if self._is_node():
            # Node looks for packages beside the file that imports them.
            tests = [shutil.copy(file, self.home) for file in sorted(self.folder.glob("*.mjs"))]
            return [
                *("node", "--test", "--test-reporter=spec", "--test-reporter-destination=stdout"),
                *("--test-reporter=junit", f"--test-reporter-destination={report}", *tests),
            ]
        folder, settings = str(self.folder), str(self.folder.parent / "pytest.ini")
        own = ["-c", settings, "--rootdir", folder, "--confcutdir", folder]
        return ["bin/python", "-m", "pytest", "-q", *own, f"--junitxml={report}", folder]


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
