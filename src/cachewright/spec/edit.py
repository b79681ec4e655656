"""Small changes to a specification's text: everything that is not changed, comments and order too, stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cachewright.spec.model import ROOT
from cachewright.spec.section import Path
from cachewright.spec.source import parse

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Put:
    """The text at `path` becomes `value`; where the last key is missing, it is added."""

    path: Path
    value: str


@dataclass(frozen=True, slots=True)
class Cut:
    """What stands in `line` from `column` (both from 1) becomes `instead`; an empty line goes."""

    line: int
    column: int
    instead: str = ""


Edit = Put | Cut


@dataclass(frozen=True, slots=True)
class _Splice:
    start: int
    end: int
    text: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """`text` with those of `edits` that can be made without touching anything else, nor each other.

    An edit of a value that is an alias, has an anchor or a tag, or spans lines is left out.
    """
    root: Node | None = None
    made: list[_Splice] = []
    for edit in edits:
        if isinstance(edit, Put):
            root = root or _root(text)
        splice = _cut(text, edit) if isinstance(edit, Cut) else _put(text, root, edit)
        if splice is not None and all(splice.end <= s.start or s.end <= splice.start for s in made):
            made.append(splice)
    for splice in sorted(made, key=lambda each: each.start, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def _root(text: str) -> Node | None:
    """The node tree; None where places in it are not those of the text, which had to be mended."""
    parsed = parse(text, "")
    return None if parsed.notes else parsed.root


def _cut(text: str, edit: Cut) -> _Splice:
    lines = text.splitlines(keepends=True)
    begin = sum(map(len, lines[: edit.line - 1]))
    line = lines[edit.line - 1]
    ending = line[len(line.rstrip("\r\n")) :]
    kept = line[: edit.column - 1]
    if edit.instead:
        return _Splice(begin + len(kept), begin + len(line) - len(ending), edit.instead)
    if not kept.strip():
        return _Splice(begin, begin + len(line), "")
    return _Splice(begin + len(kept.rstrip()), begin + len(line) - len(ending), "")


def _put(text: str, root: Node | None, edit: Put) -> _Splice | None:
    found = _at(root, (ROOT, *edit.path))
    if found is not None:
        return _replaced(text, found, edit.value)
    parent = _at(root, (ROOT, *edit.path[:-1]))
    if not isinstance(parent, MappingNode) or not parent.value:
        return None
    return _added(text, parent, f"{edit.path[-1]}: {_scalar(edit.value)}")


def _replaced(text: str, node: Node, value: str) -> _Splice | None:
    start, end = node.start_mark.index, node.end_mark.index
    written = text[start:end]
    if not isinstance(node, ScalarNode) or "\n" in written or written[:1] in {"&", "*", "!", "|", ">"}:
        return None
    single = written.startswith("'") and "'" not in value
    quoted = json.dumps(value, ensure_ascii=False) if written.startswith('"') else _scalar(value)
    return _Splice(start, end, f"'{value}'" if single else quoted)


def _added(text: str, mapping: MappingNode, entry: str) -> _Splice | None:
    if mapping.flow_style:
        start = mapping.start_mark.index + 1
        return _Splice(start, start, f"{entry}, ") if text[start - 1] == "{" else None
    key, value = mapping.value[0]
    indent = " " * key.start_mark.column
    line_end = text.find("\n", value.end_mark.index)
    if isinstance(value, ScalarNode) and value.style not in {"|", ">"} and line_end >= 0:
        return _Splice(line_end + 1, line_end + 1, f"{indent}{entry}\n")
    start = key.start_mark.index
    return _Splice(start, start, f"{entry}\n{indent}")


def _at(node: Node | None, path: Path) -> Node | None:
    for part in path:
        if isinstance(node, MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return None
    return node


def _scalar(value: str) -> str:
    plain = _PLAIN.match(value) and value.lower() not in _NOT_TEXT
    return value if plain else json.dumps(value, ensure_ascii=False)
