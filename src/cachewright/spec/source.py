"""YAML text to plain data with the place of every value; duplicates, cycles and oversize are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import BaseConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from cachewright.errors import SpecError
from cachewright.spec.mending import mended
from cachewright.spec.section import Path

Position = tuple[int, int]

MAX_VALUES = 200_000
MAX_CHARACTERS = 1_000_000
_STANDARD = "tag:yaml.org,2002:"
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_SHOWN = 40
_NESTED = "nested too deeply"
_FIRST_LINES = "a specification begins with `caching_specification:`"
_DEEP = re.compile(r"(?:[\[{]\s*){100}")


def position_of(node: Node) -> Position:
    """Line and column of `node`, both from 1."""
    return node.start_mark.line + 1, node.start_mark.column + 1


@dataclass(frozen=True, slots=True)
class Parsed:
    """The node tree of a document; `notes` say what had to be changed for it to be YAML."""

    root: Node
    notes: tuple[str, ...] = ()


def parse(text: str, name: str, *, begins: str = _FIRST_LINES) -> Parsed:
    """Parse one YAML document; a block that mixes list items and keys is read as a list.

    `begins` says what such a document begins with. Raises `SpecError` with the place of what is not YAML.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecError(
            f"the file has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read",
            path=name,
            hint=begins,
        )
    if (deep := _DEEP.search(text)) is not None:
        line, column = _place(text, deep.start())
        raise SpecError(_NESTED, path=name, line=line, column=column)
    try:
        return Parsed(_composed(text, name, begins))
    except SpecError:
        repaired = mended(text)
        if repaired is None:
            raise
        try:
            root = _composed(repaired.text, name, begins)
        except SpecError:
            root = None
        if root is None:
            raise
    _moved_back(root, repaired.shifted, set())
    return Parsed(root, repaired.notes)


def _composed(text: str, name: str, begins: str) -> Node:
    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        problem = ", ".join(part for part in (error.context, error.problem) if part) or "it cannot be parsed"
        raise SpecError(f"not valid YAML: {problem}", path=name, line=line, column=column) from None
    except ReaderError as error:
        line, column = _place(text, error.position)
        problem = f"the character U+{ord(text[error.position]):04X} is not allowed"
        raise SpecError(f"not valid YAML: {problem}", path=name, line=line, column=column) from None
    except RecursionError:
        raise SpecError(_NESTED, path=name, line=1, column=1) from None
    except (YAMLError, ValueError) as error:
        raise SpecError(f"not valid YAML: {error}", path=name, line=1, column=1) from None
    if root is None:
        raise SpecError("the file is empty", path=name, line=1, column=1, hint=begins)
    return root


def _moved_back(node: Node, shifted: Mapping[int, int], seen: set[int]) -> None:
    """Give the nodes of mended lines the columns they have in the file."""
    if id(node) in seen:
        return
    seen.add(id(node))
    mark = node.start_mark
    if id(mark) not in seen:
        seen.add(id(mark))
        mark.column = max(0, mark.column - shifted.get(mark.line, 0))
    if isinstance(node, ScalarNode):
        return
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            _moved_back(part, shifted, seen)


def _place(text: str, offset: int) -> Position:
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


@dataclass(slots=True)
class Builder:
    """Builds plain data from nodes; `positions` has the key of each mapping entry and each item of a list."""

    name: str
    positions: dict[Path, Position] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _values: int = 0
    _scalars: BaseConstructor = field(default_factory=lambda: YAML(typ="safe", pure=True).constructor)

    def build(self, node: Node, path: Path = ()) -> Any:
        """The data of `node`, which stands at `path`."""
        self.positions.setdefault(path, position_of(node))
        self._values += 1
        if self._values > MAX_VALUES:
            raise self.error(node, f"more than {MAX_VALUES} values", hint="no specification is that long")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self.error(
                node, "an anchor that contains itself", hint="write out what the alias stands for"
            )
        self._open.add(id(node))
        try:
            return self._list(node, path) if isinstance(node, SequenceNode) else self._mapping(node, path)
        except RecursionError:
            raise self.error(node, _NESTED) from None
        finally:
            self._open.discard(id(node))

    def error(self, node: Node, problem: str, *, hint: str | None = None) -> SpecError:
        """A `SpecError` at the place of `node`."""
        line, column = position_of(node)
        return SpecError(problem, path=self.name, line=line, column=column, hint=hint)

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag == _TIMESTAMP:
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (YAMLError, ValueError):
            shown = f"{node.value[:_SHOWN]!r}{' and so on' if len(node.value) > _SHOWN else ''}"
            raise self.error(
                node,
                f"{shown} cannot be read as {str(node.tag).removeprefix(_STANDARD)}",
                hint="write the value without a tag; a text stands in quotes",
            ) from None

    def _list(self, node: SequenceNode, path: Path) -> list[Any]:
        self._plain(node, "tag:yaml.org,2002:seq")
        return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        self._plain(node, "tag:yaml.org,2002:map")
        own: dict[str, Any] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                merged = {**_by_name(self._merged(value)), **merged}
                continue
            if not isinstance(key, ScalarNode):
                raise self.error(key, "a key must be a plain text", hint="for example `scope: user`")
            if key.value in own:
                first = self.positions[*path, key.value][0]
                twice = f"the key `{key.value}` stands here twice; first in line {first}"
                raise self.error(key, twice, hint="keep one of them, with all that belongs to it")
            self.positions[*path, key.value] = position_of(key)
            own[key.value] = self.build(value, (*path, key.value))
        for name, (key, value) in merged.items():
            if name not in own:
                self.positions[*path, name] = position_of(key)
                own[name] = self.build(value, (*path, name))
        return own

    def _merged(self, value: Node) -> Iterator[tuple[Node, Node]]:
        """Entries of a merge key's mappings, the first mapping's last, so that it wins."""
        mappings = value.value if isinstance(value, SequenceNode) else [value]
        for mapping in reversed(mappings):
            if not isinstance(mapping, MappingNode):
                raise self.error(mapping, "`<<` takes a mapping, or a list of mappings")
            yield from mapping.value

    def _plain(self, node: Node, tag: str) -> None:
        if node.tag != tag:
            raise self.error(
                node, f"the tag {node.tag} is not allowed here", hint="write the value without a tag"
            )


def _by_name(entries: Iterator[tuple[Node, Node]]) -> Mapping[str, tuple[Node, Node]]:
    return {key.value: (key, value) for key, value in entries if isinstance(key, ScalarNode)}
