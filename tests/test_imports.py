"""What an import costs: a fresh interpreter loads no more than the module needs."""

import subprocess
import sys

import pytest

HEAVY = {"redis", "sqlglot", "numpy", "pydantic", "fastapi", "sqlalchemy", "starlette"}


def loaded_by(module: str) -> set[str]:
    """The names in `sys.modules` of an interpreter that imported nothing but `module`."""
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("cachewright", HEAVY),
        ("cachewright.evidence.recorder", {"sqlglot", "pydantic", "numpy", "redis"}),
        (
            "cachewright.runtime.engine",
            {"sqlglot", "numpy", "redis"}
            | {f"cachewright.{room}" for room in ("analysis", "design", "simulator", "evidence")},
        ),
    ],
)
def test_an_import_spares_what_it_does_not_need(module, spared):
    loaded = loaded_by(module)
    assert module in loaded
    assert spared & loaded == set()


def test_the_names_looked_for_are_those_of_modules():
    assert HEAVY - {"numpy"} <= loaded_by("fastapi, sqlalchemy, redis, sqlglot, pydantic, starlette")
