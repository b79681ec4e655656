"""Comments that silence findings: `# cw: ignore[CW012] reason`, on the line of the finding or alone above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_COMMENT = re.compile(r"#\s*cw\s*:\s*(?P<rest>.*?)\s*$", re.IGNORECASE)
_IGNORE = re.compile(r"ignore\s*\[(?P<codes>[^\]]*)\]\s*(?P<reason>.*)$", re.IGNORECASE)
_CODE = re.compile(r"CW\d{3}\Z")


@dataclass(frozen=True, slots=True)
class Ignore:
    """One comment: where it stands, the lines whose findings it speaks of, which, and why.

    `trouble` says why it silences nothing.
    """

    line: int
    column: int
    covers: frozenset[int]
    codes: tuple[str, ...] = ()
    reason: str = ""
    trouble: str | None = None

    def silences(self, code: str, line: int | None) -> bool:
        """Whether it speaks of a finding."""
        return self.trouble is None and line in self.covers and code in self.codes


def ignores_in(text: str) -> tuple[Ignore, ...]:
    """All comments that speak to these checks, in the order of the file."""
    return tuple(_ignores(text)) if "cw" in text.casefold() else ()


def _ignores(text: str) -> Iterator[Ignore]:
    lines = text.splitlines()
    outside = _comment_columns(text, lines)
    for number, line in enumerate(lines, start=1):
        at = outside.get(number)
        found = None if at is None else _COMMENT.match(line[at:])
        if found is None or at is None:
            continue
        alone = not line[:at].strip()
        covers = {number, _next_content(lines, number)} if alone else {number}
        yield _read(found["rest"], Ignore(number, at + 1, frozenset(covers)))


def _read(rest: str, bare: Ignore) -> Ignore:
    """The comment as its words say it."""
    found = _IGNORE.match(rest)
    if found is None:
        return replace(bare, trouble="write `# cw: ignore[CW012] reason`")
    codes = tuple(code.strip().upper() for code in found["codes"].split(",") if code.strip())
    unknown = [code for code in codes if not _CODE.match(code)]
    if not codes or unknown:
        named = ", ".join(unknown) or "nothing"
        return replace(bare, trouble=f"{named} is no code; write `# cw: ignore[CW012] reason`")
    reason = found["reason"].strip(" -:")
    if not reason:
        return replace(bare, trouble="it gives no reason; write why the finding does not matter here")
    return replace(bare, codes=codes, reason=reason)


def _next_content(lines: list[str], number: int) -> int:
    """The next line, counted from 1, that is neither blank nor a comment."""
    for at in range(number, len(lines)):
        if lines[at].strip() and not lines[at].lstrip().startswith("#"):
            return at + 1
    return number


def _comment_columns(text: str, lines: list[str]) -> dict[int, int]:
    """Where (from 0) a comment may begin in each line: `#` in texts is none."""
    taken: dict[int, list[tuple[int, int]]] = {}
    try:
        for token in YAML(typ="safe", pure=True).scan(text):
            start, end = token.start_mark, token.end_mark
            if not hasattr(token, "value") or not hasattr(token, "style"):
                continue
            for line in range(start.line, end.line + 1):
                first = start.column if line == start.line else 0
                last = end.column if line == end.line else len(lines[line]) if line < len(lines) else 0
                taken.setdefault(line, []).append((first, last))
    except YAMLError:
        return {}
    found: dict[int, int] = {}
    for at, content in enumerate(lines):
        for sign in re.finditer(r"(?:^|(?<=\s))#", content):
            if not any(first <= sign.start() < last for first, last in taken.get(at, ())):
                found[at + 1] = sign.start()
                break
    return found
