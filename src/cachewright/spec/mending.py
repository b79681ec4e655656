"""Text that mixes list items and keys in one block, as the request's own does: made YAML before it is parsed (C5).

```yaml
invalidation:
  - operation: update
  triggers:            # read as `- triggers:`
    - event: after_commit
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"(?P<indent> *)(?P<dashes>(?:- +)*)(?P<rest>[^\s#].*)?")
_OPENS = re.compile(r"[^\s:#\"'][^:#]*:\s*(?:#.*)?")
_KEY = re.compile(r"[A-Za-z_][\w-]*:(?:\s|\Z)")
_STEP = 2


@dataclass(frozen=True, slots=True)
class Mended:
    """The text with an item made of each stray key; `shifted` says by how many columns which line (from 0) moved."""

    text: str
    shifted: Mapping[int, int]
    notes: tuple[str, ...]


def mended(text: str) -> Mended | None:
    """`text` with its mixed blocks made lists, None where there is none."""
    lines = text.splitlines()
    shifted: dict[int, int] = {}
    notes: list[str] = []
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None or not found["rest"] or not _OPENS.fullmatch(found["rest"]):
            continue
        column = len(found["indent"]) + len(found["dashes"])
        block = list(_block(lines, number + 1, column))
        stray = _stray(lines, block)
        if not stray:
            continue
        name = found["rest"].partition(":")[0]
        notes.append(f"line {number + 1}: {name} mixes list items and keys; read as a list")
        _make_items(lines, block, stray, shifted)
    return Mended("\n".join(lines), shifted, tuple(notes)) if notes else None


def _block(lines: list[str], start: int, column: int) -> Iterator[int]:
    """The lines below a key at `column`: those that stand deeper."""
    for number in range(start, len(lines)):
        text = lines[number]
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        if _indent(text) <= column:
            return
        yield number


def _stray(lines: list[str], block: list[int]) -> set[int]:
    """The lines of keys that stand beside list items."""
    if not block:
        return set()
    column = _indent(lines[block[0]])
    direct = [number for number in block if _indent(lines[number]) == column]
    keys = {number for number in direct if _KEY.match(lines[number].lstrip())}
    items = {number for number in direct if lines[number].lstrip().startswith("- ")}
    return keys if items and keys | items == set(direct) else set()


def _make_items(lines: list[str], block: list[int], stray: set[int], shifted: dict[int, int]) -> None:
    column = _indent(lines[block[0]])
    inside = False
    for number in block:
        if _indent(lines[number]) == column:
            inside = number in stray
        if inside:
            mark = "- " if number in stray else "  "
            lines[number] = lines[number][:column] + mark + lines[number][column:]
            shifted[number] = shifted.get(number, 0) + _STEP


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
