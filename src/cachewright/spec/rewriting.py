"""A specification's text made to say something else: only what differs is written, the rest stays to the letter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cachewright.errors import SpecError
from cachewright.spec.document import Document, dumps_plain, dumps_spec, loads_spec
from cachewright.spec.model import ROOT, CachingSpecification
from cachewright.spec.overlay import IDENTITIES
from cachewright.spec.source import parse

_STEP = 2


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The new text; `kept` is false where comments and order had to be given up for it to be right."""

    text: str
    kept: bool


@dataclass(frozen=True, slots=True)
class _Splice:
    start: int
    end: int
    text: str


class _NotHereError(Exception):
    """The change has no place of its own in the text."""


def rewritten(document: Document, spec: CachingSpecification) -> Rewritten:
    """The text of `document`, saying what `spec` says.

    Comments, order and spelling of what is equal in both stay as they are. Where the text does not allow that
    (anchors, shapes that a reader had to mend), everything is written anew.
    """
    if document.spec == spec:
        return Rewritten(document.text, kept=True)
    try:
        text = _respliced(document, spec)
        if loads_spec(text).spec == spec:
            return Rewritten(text, kept=True)
    except (_NotHereError, SpecError):
        pass
    return Rewritten(dumps_spec(spec), kept=False)


def _respliced(document: Document, spec: CachingSpecification) -> str:
    text = document.text
    parsed = parse(text, "")
    if parsed.notes:
        raise _NotHereError
    edge = "\r\n" if "\r\n" in text else "\n"
    changes = _Changes(text if text.endswith("\n") else text + edge)
    before, after = document.spec.model_dump(), spec.model_dump()
    splices = list(changes.mapping(parsed.root, {ROOT: before}, {ROOT: after}))
    text = changes.text
    written = len(text)
    for _, splice in sorted(enumerate(splices), key=lambda each: (each[1].start, each[0]), reverse=True):
        if splice.end > written:  # two changes meet
            raise _NotHereError
        text = text[: splice.start] + splice.text.replace("\n", edge) + text[splice.end :]
        written = splice.start
    return text


@dataclass(frozen=True, slots=True)
class _Changes:
    """Finds the splices that make nodes of `text` say something else."""

    text: str

    def mapping(self, node: Node, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[_Splice]:
        """The splices for a mapping: keys that differ, keys to add, keys to drop."""
        if not isinstance(node, MappingNode) or not node.value:
            raise _NotHereError
        present = {key.value: (key, value) for key, value in node.value}
        order = list(after)
        for name in after:
            if name in before and before[name] == after[name]:
                continue
            if name in present and _in_brackets(node) and not isinstance(present[name][1], MappingNode):
                yield self._in_place(present[name][1], after[name])
            elif name in present:
                yield from self.value(*present[name], before.get(name), after[name])
            else:
                fresh = _only_new(before.get(name), after[name])
                yield self._added(node, name, fresh, order[: order.index(name)])
        gone = [name for name in before if name not in after and name in present]
        if len(gone) == len(present):
            raise _NotHereError
        for name in gone:
            yield self._dropped(node, *present[name])

    def value(self, key: Node, node: Node, before: Any, after: Any) -> Iterator[_Splice]:
        """The splices that make the value of `key` say `after`."""
        if isinstance(node, MappingNode) and node.value and isinstance(after, Mapping):
            yield from self.mapping(node, before if isinstance(before, Mapping) else {}, after)
        elif _listed(node) and _listed_in(before) and _listed_in(after) and len(node.value) == len(before):
            yield from self._items(key, node, before, after)
        else:
            yield self._replaced(key, node, after)

    def _items(self, key: Node, node: Node, before: Sequence[Any], after: Sequence[Any]) -> Iterator[_Splice]:
        """The splices for a list: items that differ, items at the end, items that are gone."""
        rest = list(after)
        kept = []
        for item, was in zip(node.value, before, strict=True):
            same = next((new for new in rest if _same(new, was)), None)
            if same is None:
                continue
            if rest[0] is not same:  # another order: the list is written anew
                yield self._replaced(key, node, after)
                return
            rest.pop(0)
            kept.append((item, was, same))
        if not kept:
            yield self._replaced(key, node, after)
            return
        for item, was, same in kept:
            if was != same:
                yield from self.mapping(item, was, same)
        standing = {id(item) for item, _, _ in kept}
        for item in node.value:
            if id(item) not in standing:
                yield self._lines(item)
        if rest:
            column, end = node.start_mark.column, self._line_end(_end(node.value[-1]))
            yield _Splice(end, end, _as_items(rest, column))

    def _added(self, node: MappingNode, name: str, value: Any, before: Sequence[str]) -> _Splice:
        """A new key behind the nearest of the keys that stand `before` it in a specification."""
        names = [key.value for key, _ in node.value]
        at = max((names.index(each) for each in before if each in names), default=None)
        if _in_brackets(node):
            entry = f"{name}: {_inline(value)}"
            if at is None:
                start = node.start_mark.index + 1
                return _Splice(start, start, f"{entry}, ")
            start = _end(node.value[at][1])
            return _Splice(start, start, f", {entry}")
        column = node.value[0][0].start_mark.column
        entry = _moved(dumps_plain({name: value}), column)
        if at is None:
            start = node.value[0][0].start_mark.index
            return _Splice(start, start, entry.lstrip(" ") + " " * column)
        start = self._line_end(max(_end(node.value[at][1]), _end(node.value[at][0])))
        return _Splice(start, start, entry)

    def _in_place(self, node: Node, value: Any) -> _Splice:
        """A value between brackets, written anew."""
        if self.text[node.start_mark.index] in "&*!":
            raise _NotHereError
        return _Splice(node.start_mark.index, _end(node), _inline(value))

    def _replaced(self, key: Node, node: Node, value: Any) -> _Splice:
        """The value of `key` written anew: in its line where it fits, else below."""
        start, end = node.start_mark.index, _end(node)
        written = self.text[start:end]
        if not written or written[0] in "&*!":
            raise _NotHereError
        if "\n" not in written and isinstance(node, ScalarNode) and not isinstance(value, Mapping):
            return _Splice(start, end, _inline(value))
        colon = self.text.index(":", key.end_mark.index) + 1
        first, edge, lines = _behind(value).partition("\n")
        return _Splice(colon, end, first + edge + _moved(lines, key.start_mark.column))

    def _dropped(self, node: MappingNode, key: Node, value: Node) -> _Splice:
        if _in_brackets(node):
            raise _NotHereError
        if node.value[0][0] is key and self._before(key).strip():  # behind the dash of a list's item
            after = node.value[1][0].start_mark.index
            return _Splice(key.start_mark.index, after, "")
        return _Splice(
            self._line_start(key.start_mark.index), self._line_end(max(_end(value), _end(key))), ""
        )

    def _lines(self, item: Node) -> _Splice:
        """The whole lines of an item of a list, which go."""
        return _Splice(self._line_start(item.start_mark.index), self._line_end(_end(item)), "")

    def _before(self, node: Node) -> str:
        index = node.start_mark.index
        return self.text[self._line_start(index) : index]

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        """The start of the line after the one of `index`; a text that ends with its line has none to add."""
        if index and self.text[index - 1] == "\n":
            return index
        return self.text.index("\n", index) + 1


def _end(node: Node) -> int:
    """Where the text of a node ends: of a block, where its last value does."""
    if isinstance(node, ScalarNode) or _in_brackets(node) or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return max(map(_end, last)) if isinstance(last, tuple) else _end(last)


def _in_brackets(node: Node) -> bool:
    return isinstance(node, (MappingNode, SequenceNode)) and bool(node.flow_style)


def _listed(node: Node) -> bool:
    """Whether the node is a list with an item in each line."""
    return isinstance(node, SequenceNode) and bool(node.value) and not _in_brackets(node)


def _listed_in(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value)


def _same(one: Any, other: Any) -> bool:
    """Whether two items of a list are the same thing, perhaps with other fields."""
    if one == other or not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return bool(one == other)
    named = [name for name in IDENTITIES if name in one or name in other]
    return bool(named) and one.get(named[0]) == other.get(named[0])


def _only_new(before: Any, after: Any) -> Any:
    """What of `after` is not the default that stood there unwritten."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return {
            name: _only_new(before.get(name), value)
            for name, value in after.items()
            if name not in before or before[name] != value
        }
    return after


def _inline(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_inline(each)}" for name, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    written = dumps_plain({"k": [value]}).removeprefix("k:").strip()
    return written[1:-1] if written.startswith("[") else written.removeprefix("-").strip()


def _behind(value: Any) -> str:
    """What stands behind the colon of a key at the margin: a value in its line, or the lines of a block."""
    return dumps_plain({"k": value}).removeprefix("k:").rstrip("\n")


def _as_items(values: Sequence[Any], column: int) -> str:
    """The lines of items of a list whose dashes stand in `column`."""
    lines = [
        _moved(_behind([each]).removeprefix("\n"), column - _STEP)
        if isinstance(each, Mapping)
        else f"{' ' * column}- {_inline(each)}"
        for each in values
    ]
    return "".join(f"{each}\n" for each in lines)


def _moved(text: str, by: int) -> str:
    """`text` with each of its lines moved to the right, or to the left."""
    lines = text.splitlines(keepends=True)
    return "".join(" " * by + line if by > 0 and line.strip() else line[max(0, -by) :] for line in lines)
