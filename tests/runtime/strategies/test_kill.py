"""A process that accepted writes is killed (-9): the next one stores every one of them (G7)."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("accepting.py")


@pytest.mark.requirement("#98", "C41")
def test_no_acknowledged_write_is_lost_from_a_file(tmp_path):
    check(str(tmp_path / "journal"), tmp_path / "db")
    assert list((tmp_path / "journal").iterdir()) == []


def test_no_acknowledged_write_is_lost_from_a_redis(own_server, tmp_path):
    server = own_server(appendonly="yes")
    check(server.url, tmp_path / "db")
    with server.client() as client:
        assert not client.keys("*writes*")


def check(journal: str, database: Path) -> None:
    acknowledged, pending = killed_in_the_middle(journal, database)
    assert len(acknowledged) >= 1000
    unstored = [
        key for key, (value, _) in acknowledged.items() if stored(database).get(key, ("", 0))[0] != value
    ]
    assert len(unstored) >= 500, "it was not in the middle of its work"
    said = subprocess.run(
        [sys.executable, SCRIPT, journal, database, "replay"],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout
    assert "stored" in said
    rows = stored(database)
    for key, (value, version) in acknowledged.items():
        assert rows[key] == (value, version) or rows[key][1] > version
    assert pending
    with closing(sqlite3.connect(database)) as connection:
        seen = connection.execute("SELECT key, version FROM seen ORDER BY key, rowid").fetchall()
    for _, group in groupby(seen, key=lambda each: each[0]):
        versions = [version for _, version in group]
        assert versions == sorted(versions)


def killed_in_the_middle(journal: str, database: Path) -> tuple[dict[int, tuple[str, int]], bool]:
    """The last acknowledged write of each key, of a process that was killed while it stored and accepted."""
    pending = False
    acknowledged: dict[int, tuple[str, int]] = {}
    process = subprocess.Popen(
        [sys.executable, SCRIPT, journal, database, "accept"], stdout=subprocess.PIPE, text=True
    )
    with process:
        for number, line in enumerate(process.stdout):
            if line == "pending\n":
                pending = True
            elif line.endswith("\n"):
                key, value, version = line.split()
                if int(version) > acknowledged.get(int(key), ("", 0))[1]:
                    acknowledged[int(key)] = (value, int(version))
            if number == 1100:
                os.kill(process.pid, signal.SIGKILL)
    if process.returncode != -signal.SIGKILL:
        pytest.fail(f"the process ended by itself: {process.returncode}")
    return acknowledged, pending


def stored(database: Path) -> dict[int, tuple[str, int]]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT key, value, version FROM rows").fetchall()
    return {key: (value, version) for key, value, version in rows}
