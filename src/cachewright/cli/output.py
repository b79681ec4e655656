"""Where words go: data to stdout, everything else to stderr, plainly where nobody looks at a screen."""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Tables written into a pipe or a file are not squeezed into the width of an imagined screen.
WIDTH_WITHOUT_SCREEN = 160
#: What stands for characters that a stream cannot write; anything else becomes a question mark.
PLAIN = {"→": "->", "≥": ">=", "≤": "<=", "×": "x", "…": "...", "✓": "+", "✗": "-"}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """The error handler of streams that cannot write all of Unicode (see `codecs.register_error`)."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(
        PLAIN.get(character, "?") for character in error.object[error.start : error.end]
    ), error.end


codecs.register_error("cachewright.plainly", _plainly)


def console(stream: TextIO) -> Console:
    """A console on `stream`; NO_COLOR, dumb terminals and pipes get plain text, and ASCII where it must be."""
    from rich.console import Console

    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="cachewright.plainly")

    width = None if stream.isatty() else WIDTH_WITHOUT_SCREEN
    return Console(file=stream, highlight=False, width=width, emoji=False)


def say(*items: RenderableType) -> None:
    """Write texts (taken as they are, without markup) or tables on stderr: what accompanies the work."""
    _print(sys.stderr, items)


def show(*items: RenderableType) -> None:
    """Write texts or tables on stdout: what the work was for."""
    _print(sys.stdout, items)


def _print(stream: TextIO, items: tuple[RenderableType, ...]) -> None:
    shown = console(stream)
    for item in items:
        shown.print(item, markup=False, soft_wrap=isinstance(item, str))


def write_json(value: Any) -> None:
    """Write a JSON document on stdout."""
    sys.stdout.write(f"{to_json(value)}\n")
    sys.stdout.flush()


def to_json(value: Any) -> str:
    """JSON as all commands and files of ours write it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def write_text(path: Path, text: str) -> None:
    """Write a file, making the directory it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")


@contextmanager
def working(what: str) -> Iterator[None]:
    """A bar on a terminal for what takes its time and cannot tell how much; a pipe sees nothing of it."""
    with progressing(what):
        yield


@contextmanager
def progressing(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, moved by calling it with what is done and how much there is; a pipe sees nothing of it."""
    errors = console(sys.stderr)
    if not errors.is_terminal:
        yield lambda _done, _whole: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, whole: bars.update(bar, completed=done, total=whole or None)
