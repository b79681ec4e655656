"""The entry point: runs the command line, and turns what went wrong into one or two lines and an exit code.

Exit codes: 0 done, 1 findings (or differences, or a requirement that failed), 2 usage, 3 environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cachewright.errors import (
    ApplicationError,
    CachewrightError,
    RuntimeCacheError,
    SurroundingsError,
)

USAGE = 2
ENVIRONMENT = 3

#: The extra that brings a package which only some commands need.
EXTRA_OF = {
    "fastapi": "fastapi",
    "mcp": "mcp",
    "numpy": "design",
    "redis": "redis",
    "rich": "design",
    "sqlalchemy": "sqlalchemy",
    "sqlglot": "sqlalchemy",
    "starlette": "fastapi",
    "typer": "design",
    "uvicorn": "serve",
}


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (`sys.argv` when no arguments are given) and exit."""
    try:
        from cachewright.cli.commands import app

        app(args=None if arguments is None else list(arguments), prog_name="cachewright")
    except CachewrightError as error:
        fail(error)
    except ModuleNotFoundError as error:
        if (missing := _missing_extra(error)) is None:
            raise
        fail(missing)
    except BrokenPipeError:
        _close_stdout()
        sys.exit(1)
    except OSError as error:
        fail(_unusable(error))
    sys.exit(0)


def fail(error: CachewrightError) -> NoReturn:
    """Say what is wrong on stderr and exit with the code for it."""
    sys.stderr.write(f"error: {error}\n")
    sys.exit(exit_code(error))


def exit_code(error: CachewrightError) -> int:
    """3 where the surroundings are to blame, 2 where the input is."""
    return (
        ENVIRONMENT if isinstance(error, ApplicationError | SurroundingsError | RuntimeCacheError) else USAGE
    )


def _missing_extra(error: ModuleNotFoundError) -> SurroundingsError | None:
    package = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(package)
    if extra is None:
        return None
    return SurroundingsError(
        f"this command needs {package}, which is not installed",
        hint=f"pip install 'cachewright[{extra}]'  (or [all] for everything)",
    )


def _unusable(error: OSError) -> SurroundingsError:
    place = f"{error.filename}: " if error.filename else ""
    return SurroundingsError(
        f"{place}{error.strerror or error}", hint="Check the path, its permissions and the disk."
    )


def _close_stdout() -> None:
    """The reader of our output has gone: give the interpreter nothing to complain about when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
