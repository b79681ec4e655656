"""Runs the generated tests of two identities by pytest, in a process of its own, against two servers."""

import json
import subprocess
import sys
from pathlib import Path

from cachewright.report.two_identities import two_identities
from cachewright.spec.document import load_spec

CONFTEST = """
import json, pathlib, pytest

TOLD = json.loads((pathlib.Path(__file__).parent / "told.json").read_text())

@pytest.fixture
def cached(): return TOLD["cached"]

@pytest.fixture
def uncached(): return TOLD["uncached"]

@pytest.fixture
def identities(): return TOLD["identities"]

@pytest.fixture
def samples(): return TOLD["samples"]
"""


def check(directory: Path, spec: str, **told) -> int:
    """Run them all; how many routes have passed. `told` is what their fixtures give."""
    directory.mkdir()
    (directory / "test_two.py").write_text(two_identities(load_spec(spec)))
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "told.json").write_text(json.dumps(told))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory)]
    done = subprocess.run(
        [*argv, str(directory)], cwd=directory, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.rpartition(" passed")[0].split()[-1])
