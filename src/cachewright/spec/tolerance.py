"""The request's literal shapes, brought into the shape of the schema, with a note on each change (C5, C6)."""

from __future__ import annotations

from collections.abc import Callable

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cachewright.spec.source import position_of

_MAP = "tag:yaml.org,2002:map"
_SEQ = "tag:yaml.org,2002:seq"
_STR = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"

Entry = tuple[Node, Node]
Note = Callable[[Node, str], None]


def normalise(root: Node) -> tuple[Node, tuple[str, ...]]:
    """`root` (the value of `caching_specification`) in the schema's shape, and what was changed for that."""
    notes: list[str] = []

    def note(node: Node, text: str) -> None:
        notes.append(f"line {position_of(node)[0]}: {text}")

    if not isinstance(root, MappingNode):
        return root, ()
    return _mapping(root, [(key, _section(key, value, note)) for key, value in root.value]), tuple(notes)


def _section(key: Node, value: Node, note: Note) -> Node:
    match key.value:
        case "invalidation":
            return _invalidation(value, note)
        case "cache_warming":
            return _warming(key, value, note)
        case "metrics" | "alerts" if (
            isinstance(value, SequenceNode) and value.value and all(map(_named, value.value))
        ):
            return _by_name(key, value, note)
        case _:
            return value


def _by_name(key: Node, value: Node, note: Note) -> Node:
    note(key, f"{key.value} is a list; read as a mapping by name")
    return _mapping(value, [_named_entry(item) for item in value.value])


def _named(item: Node) -> bool:
    """`- low_hit_rate:` with its settings at the same indent, or below it: a name first."""
    if not isinstance(item, MappingNode) or not item.value:
        return False
    value = item.value[0][1]
    return value.tag == _NULL or _are_mappings(value) or (len(item.value) == 1)


def _named_entry(item: Node) -> Entry:
    """The name that comes first, with what stands below it and beside it."""
    (name, value), *beside = item.value
    if not beside:
        return name, value
    below = value.value if isinstance(value, MappingNode) else []
    if _are_mappings(value):
        below = [entry for part in value.value for entry in part.value]
    return name, _mapping(item, [*below, *beside])


def _invalidation(value: Node, note: Note) -> Node:
    if isinstance(value, SequenceNode):
        note(value, "invalidation is a list; read as invalidation.rules")
        rules, others = [], []
        for item in value.value:
            alone = isinstance(item, MappingNode) and len(item.value) == 1
            if alone and item.value[0][0].value in ("triggers", "versioning"):
                others.append(item.value[0])
            else:
                rules.append(item)
        value = _mapping(value, [(_key("rules", value), _sequence(value, rules)), *others])
    if not isinstance(value, MappingNode):
        return value
    return _mapping(value, [(key, _triggers(key, inner, note)) for key, inner in value.value])


def _triggers(key: Node, value: Node, note: Note) -> Node:
    if key.value != "triggers" or not isinstance(value, SequenceNode):
        return value
    return _sequence(value, [_trigger(item, note) for item in value.value])


def _trigger(item: Node, note: Note) -> Node:
    """`time_based` as a list of one-key mappings becomes one mapping."""
    if not isinstance(item, MappingNode):
        return item
    if item.value and item.value[0][0].value == "time_based" and len(item.value) > 1:
        note(item, "what stands beside time_based was read as part of it")
        return _mapping(item, [_named_entry(item)])
    entries: list[Entry] = []
    for key, value in item.value:
        if key.value == "time_based" and _are_mappings(value):
            note(key, "time_based is a list; read as a mapping")
            entries.append((key, _mapping(value, [entry for part in value.value for entry in part.value])))
        else:
            entries.append((key, value))
    return _mapping(item, entries)


def _warming(key: Node, value: Node, note: Note) -> Node:
    if isinstance(value, SequenceNode) and value.value and all(map(_named, value.value)):
        wrapped = [item for item in value.value if _is_strategy(item)]
        others = _sequence(value, [item for item in value.value if not _is_strategy(item)])
        named = _by_name(key, others, note)
        strategies = [(_key("strategies", value), _sequence(value, wrapped))] if wrapped else []
        value = _mapping(value, [*named.value, *strategies])
    if not isinstance(value, MappingNode):
        return value
    entries = [
        (key, _strategies(inner, note) if key.value == "strategies" else _predictive(key, inner, note))
        for key, inner in value.value
    ]
    return _mapping(value, entries)


def _strategies(value: Node, note: Note) -> Node:
    """`- strategy: {…}` becomes the strategy itself."""
    if not isinstance(value, SequenceNode):
        return value
    items: list[Node] = []
    for item in value.value:
        if _is_strategy(item):
            note(item, "`strategy:` around a warming strategy was taken off")
            items.append(_named_entry(item)[1])
        else:
            items.append(item)
    return _sequence(value, items)


def _is_strategy(item: Node) -> bool:
    return isinstance(item, MappingNode) and bool(item.value) and item.value[0][0].value == "strategy"


def _predictive(key: Node, value: Node, note: Note) -> Node:
    """`predictive` as a list of mappings becomes one mapping."""
    if key.value != "predictive" or not _are_mappings(value):
        return value
    note(key, "predictive is a list; read as a mapping")
    return _mapping(value, [entry for part in value.value for entry in part.value])


def _are_mappings(value: Node) -> bool:
    """Whether `value` is a list of mappings and of nothing else."""
    return (
        isinstance(value, SequenceNode)
        and bool(value.value)
        and all(isinstance(node, MappingNode) for node in value.value)
    )


def _mapping(place: Node, entries: list[Entry]) -> MappingNode:
    return MappingNode(tag=_MAP, value=entries, start_mark=place.start_mark, end_mark=place.end_mark)


def _sequence(place: Node, items: list[Node]) -> SequenceNode:
    return SequenceNode(tag=_SEQ, value=items, start_mark=place.start_mark, end_mark=place.end_mark)


def _key(name: str, place: Node) -> ScalarNode:
    return ScalarNode(tag=_STR, value=name, start_mark=place.start_mark, end_mark=place.end_mark)
