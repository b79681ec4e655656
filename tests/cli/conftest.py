import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cachewright.cli.main import run

HERE = Path(__file__).parent
CACHEWRIGHT = (sys.executable, "-m", "cachewright")


@dataclass
class Running:
    """A command that serves; `url` is what it said was ready. After `stop`, its code and what it wrote."""

    process: subprocess.Popen[str]
    url: str
    said: str
    code: int = -1
    stdout: str = ""
    stderr: str = ""

    def stop(self) -> "Running":
        if self.process.poll() is None:
            self.process.terminate()
        self.stdout, rest = self.process.communicate(timeout=30)
        self.stderr = self.said + rest
        self.code = self.process.returncode
        return self

    def next_line(self, part: str) -> str:
        """Wait for a line of stderr that holds `part`; empty when the process ends first."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if part in line:
                return line
        return ""

    def ask(self, path: str, method: str = "GET") -> tuple[int, Any]:
        asked = urllib.request.Request(f"{self.url}{path}", method=method)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 - our own server
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@dataclass(frozen=True)
class Shell:
    """Runs commands of ours beside the shop, as a user would."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SHOP_DATABASE": str(self.directory / "shop.db"),
            "PYTHONPATH": str(HERE),
            "NO_COLOR": "1",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CACHEWRIGHT, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[Running]:
        process = subprocess.Popen(
            [*CACHEWRIGHT, arguments[0], "--port", "0", *arguments[1:]],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        running = Running(process, "", "")
        deadline = time.monotonic() + 40
        for line in process.stderr:
            running.said += line
            if line.startswith("ready "):
                running.url = line.split()[1]
                break
            assert time.monotonic() < deadline, running.said
        try:
            assert running.url, running.said
            yield running
        finally:
            if running.code == -1:
                running.stop()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process, from an empty directory; its code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "300")

    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run_command


SPEC = """\
caching_specification:
  namespace: shop
  cache_targets:
    - endpoint: GET /items/{item_id}
      scope: public
      cache_key_pattern: items:{item_id}
      levels: [l2]
      depends_on: ["items(id={item_id})"]
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "caching.yaml"
    path.write_text(SPEC)
    return str(path)
