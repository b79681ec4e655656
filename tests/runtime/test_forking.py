"""A process that forks with a cache in its hands: the child has one of its own, and hears its siblings."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("made_before", ["changed 1", "new"]),
        ("loop_runs", ["[cachewright.MISSING, 1, 2, 3]", "2"]),
        ("lock_taken", ["[1, True, 2, 0]", "2"]),
        ("written_back", ["child 1", "['2=child'] parent 2", "['1=parent', '2=child', '3=parent'] []"]),
    ],
)
def test_a_forked_process_has_a_cache_of_its_own_and_hears_the_others(program, said, valkey_url, namespace):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.runtime.forking", program, valkey_url, namespace],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert sorted(ran.stdout.split("\n")[:-1]) == sorted(said), ran.stderr
