"""The files of one recording: one for each process, and one more whenever a file is full.

The first has the name that was asked for, the others stand beside it: `a.trace.2` is of the second worker,
`a.trace.2.1` what it wrote after its first file was full.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_BESIDE = ("-wal", "-shm", "-journal")

#: Recording, worker, number of the file: what rows came from, however often files were merged.
Part = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file, and what it holds."""

    path: Path
    parts: frozenset[Part]


def part_path(out: Path, worker: int, part: int) -> Path:
    """Where a worker of a recording to `out` writes its file number `part` (from 0)."""
    if not worker and not part:
        return out
    return out.with_name(f"{out.name}.{worker}" + (f".{part}" if part else ""))


def parts_text(parts: Iterable[Part]) -> str:
    """Parts as they stand in `meta`."""
    return json.dumps(sorted(parts))


def parts_from(meta: Mapping[str, str]) -> frozenset[Part]:
    """The parts that a file with this `meta` holds; none for traces that were not recorded."""
    return frozenset(
        (recording, worker, part) for recording, worker, part in json.loads(meta.get("parts", "[]"))
    )


def files_beside(path: Path) -> list[Path]:
    """Files beside `path` that have the names of its parts, in the order of workers and numbers."""
    name = re.compile(rf"{re.escape(path.name)}\.(\d+)(?:\.(\d+))?\Z")
    found = [
        (int(match[1]), int(match[2] or 0), file)
        for file in path.parent.glob("*")
        if (match := name.match(file.name))
    ]
    return [file for *_, file in sorted(found)]


def all_parts(path: Path) -> list[PartFile]:
    """`path` and the parts of its recordings that stand beside it and that it does not hold itself."""
    first = PartFile(path, parts_of(path))
    recordings = {recording for recording, _, _ in first.parts}
    found = [first]
    held = set(first.parts)
    for file in files_beside(path):
        parts = parts_of(file)
        if parts and not parts & held and {recording for recording, _, _ in parts} <= recordings:
            found.append(PartFile(file, parts))
            held |= parts
    return found


def remove(path: Path) -> None:
    """Remove a trace and SQLite's files beside it."""
    path.unlink(missing_ok=True)
    remove_beside(path)


def remove_beside(path: Path) -> None:
    """Remove SQLite's files beside a trace, which would be applied to whatever takes its name."""
    for tail in _BESIDE:
        path.with_name(path.name + tail).unlink(missing_ok=True)


def parts_of(path: Path) -> frozenset[Part]:
    """What parts a file holds; none where it is no trace, or cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return parts_from(dict(connection.execute("SELECT name, value FROM meta WHERE name = 'parts'")))
    except (sqlite3.Error, ValueError, TypeError):
        return frozenset()
