"""What a database's own catalogue adds to what statements and models say.

Views hide the tables they read, triggers and routines change tables that no statement names, policies read
tables on behalf of every reader. All of it is told from the words of their definitions: a routine can touch only
relations it mentions, unless it builds statements while it runs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cachewright.spec.tags import SETTINGS
from cachewright.sql.rows import Reference

#: What a routine touches: names of tables, None where that cannot be told.
Touched = frozenset[str] | None

_NOTHING: frozenset[str] = frozenset()
_WORD = re.compile(r"[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*")
_ASSIGNED = re.compile(r"\bnew\s*\.\s*\"?(\w+)\"?\s*:?=(?!=)", re.IGNORECASE)
_WHOLE_ROW = re.compile(r"\bnew\s*:?=(?!=)|\binto\s+(?:strict\s+)?new\b", re.IGNORECASE)
_WRITING = frozenset({"insert", "update", "delete", "merge", "truncate", "copy", "replace", "call"})
_DYNAMIC = frozenset({"execute", "dblink", "dblink_exec", "query_to_xml"})
_TEXTUAL = frozenset({"sql", "plpgsql"})


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or a view; `definition` is the text of a view, `root` the table a partition belongs to.

    What is `elsewhere` (a foreign, a temporary or a virtual table) changes where nobody looks. What is `indexed` (a
    full-text table) has rows of its own and may read those of the table that its definition names.
    """

    name: str
    definition: str | None = None
    root: str | None = None
    elsewhere: bool = False
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class Routine:
    """A function or procedure of the database's users; `writes` is false where it is declared not to."""

    name: str
    body: str
    language: str = "sql"
    writes: bool = True
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """What runs by itself when rows of `table` change: the words of `body`, or the routine it names."""

    table: str
    body: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue of one database, read at one moment. Names are those of facts, tags and metadata.

    `builtin` are functions that come with the database and change no table. `loose` columns hold values whose
    equality is not that of their texts. `policies` are the texts of row-level policies by table.
    """

    relations: tuple[Relation, ...] = ()
    routines: tuple[Routine, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    references: tuple[Reference, ...] = ()
    loose: frozenset[tuple[str, str]] = frozenset()
    policies: tuple[tuple[str, str], ...] = ()
    builtin: frozenset[str] = frozenset()
    dialect: str = ""


@dataclass
class Surmise:
    """What follows from a catalogue, worked out when first asked for."""

    catalogue: Catalogue
    _reads: dict[str, Touched] = field(default_factory=dict)
    _changes: dict[str, Touched] = field(default_factory=dict)

    def table(self, name: str) -> str:
        """The table that holds the rows of `name`: a partition is its parent."""
        return self._roots.get(name, name)

    def read_by(self, name: str) -> Touched:
        """The tables a read of relation `name` reads as well, or instead: those of views and of policies.

        None where it may read any: nobody has heard of the name, or its rows change where nobody looks.
        """
        if name not in self._reads:
            self._reads[name] = _NOTHING  # a relation may mention itself
            self._reads[name] = self._behind(name)
        return self._reads[name]

    def _behind(self, name: str) -> Touched:
        known = self._by_name.get(name)
        if known is None and (name == SETTINGS or not self.catalogue.dialect):
            return _NOTHING
        if known is None:
            return self._of_this_name(name)
        if known.elsewhere:
            return None
        definition = self._definitions.get(name)
        found = _NOTHING if definition is None else self._told(definition, self._touched, but=name)
        return None if found is None else found - self._views

    def _of_this_name(self, name: str) -> Touched:
        """What a name may stand for whose schema is told elsewhere (in a search path), or nowhere."""
        same = [each for each in self._by_name if each.rpartition(".")[2] == name.rpartition(".")[2]]
        found: Touched = frozenset(same) - self._views if same else None
        for each in same:
            found = _union(found, self.read_by(each))
        return found

    def is_view(self, name: str) -> bool:
        """Whether `name` holds no rows of its own."""
        return name in self._views

    def changed_by(self, name: str) -> Touched:
        """The tables that a write to `name` changes as well: by triggers, and through a view."""
        if name not in self._changes:
            self._changes[name] = _NOTHING
            found: Touched = self.read_by(name) if name in self._views else _NOTHING
            for trigger in self._triggers.get(name, ()):
                found = _union(found, self._told(trigger.body, self._written))
            for other in tuple(found or ()):
                found = _union(found, self.changed_by(other))
            self._changes[name] = found
        return self._changes[name]

    def rewritten(self, table: str) -> frozenset[str]:
        """The columns of `table` that a trigger gives values of its own."""
        return self._rewritten.get(table, _NOTHING)

    def is_routine(self, function: str) -> bool:
        """Whether the database's users made a function or procedure of this name."""
        return function.rpartition(".")[2].lower() in self._routines

    def called(self, function: str) -> Touched:
        """The tables that a call of `function` may change."""
        name = function.rpartition(".")[2].lower()
        if name in self._routines:
            return self._written(name)
        return _NOTHING if name in self.catalogue.builtin or self.catalogue.dialect == "sqlite" else None

    def is_plain(self, function: str) -> bool:
        """Whether `function` is known to read no table."""
        name = function.rpartition(".")[2].lower()
        if name in self._routines:
            return self._touched(name) == _NOTHING
        return name in self.catalogue.builtin

    @property
    def secured(self) -> frozenset[str]:
        """The tables of which a session sees only some rows."""
        return frozenset(table for table, _ in self.catalogue.policies)

    # words

    def _told(self, text: str, of: Callable[[str], Touched], but: str = "") -> Touched:
        """The relations and routines that a text mentions, and what these touch."""
        words = frozenset(word.lower() for word in _WORD.findall(text))
        if words & _DYNAMIC:
            return None
        lower = text.lower().replace('""', '"')
        words |= {name for name in self._unwordly if name in lower}
        found: Touched = frozenset(
            table for word in words for table in self._by_word.get(word, ()) if table != but
        )
        for table in tuple(found or ()):
            found = _union(found, self.read_by(table))
        for word in words & self._routines.keys():
            found = _union(found, of(word))
        return found

    def _touched(self, routine: str) -> Touched:
        return self._of_routine(routine, "reads", self._touched)

    def _written(self, routine: str) -> Touched:
        return self._of_routine(routine, "writes", self._written)

    def _of_routine(self, name: str, what: str, again: Callable[[str], Touched]) -> Touched:
        key = f"{what} {name}"
        store = self._reads
        if key not in store:
            store[key] = _NOTHING  # a routine may call itself
            found: Touched = _NOTHING
            for routine in self._routines[name]:
                found = _union(found, self._of_text(routine, what, again))
            store[key] = found
        return store[key]

    def _of_text(self, routine: Routine, what: str, again: Callable[[str], Touched]) -> Touched:
        if what == "writes" and not routine.writes:
            return _NOTHING
        if routine.shipped:
            return None if routine.name.startswith("dblink") else _NOTHING
        if routine.language not in _TEXTUAL:
            return None
        words = frozenset(word.lower() for word in _WORD.findall(routine.body))
        if what == "writes" and not words & (_WRITING | _DYNAMIC | self._routines.keys()):
            return _NOTHING
        return self._told(routine.body, again)

    # by name

    @cached_property
    def _roots(self) -> Mapping[str, str]:
        return {each.name: each.root for each in self.catalogue.relations if each.root is not None}

    @cached_property
    def _views(self) -> frozenset[str]:
        return frozenset(
            each.name
            for each in self.catalogue.relations
            if each.definition is not None and not each.indexed and not each.elsewhere
        )

    @cached_property
    def _by_name(self) -> Mapping[str, Relation]:
        return {each.name: each for each in self.catalogue.relations}

    @cached_property
    def _unwordly(self) -> frozenset[str]:
        """Names that are no words: quotes hold them together."""
        return frozenset(word for word in self._by_word if _WORD.fullmatch(word) is None)

    @cached_property
    def _definitions(self) -> Mapping[str, str]:
        found = {
            each.name: each.definition for each in self.catalogue.relations if each.definition is not None
        }
        for table, text in self.catalogue.policies:
            found[table] = f"{found.get(table, '')} {text}"
        return found

    @cached_property
    def _by_word(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for each in self.catalogue.relations:
            found[each.name.rpartition(".")[2]].add(each.root or each.name)
        return {word: frozenset(names) for word, names in found.items()}

    @cached_property
    def _routines(self) -> Mapping[str, tuple[Routine, ...]]:
        found: dict[str, list[Routine]] = defaultdict(list)
        for routine in self.catalogue.routines:
            found[routine.name.rpartition(".")[2]].append(routine)
        return {name: tuple(routines) for name, routines in found.items()}

    @cached_property
    def _triggers(self) -> Mapping[str, tuple[Trigger, ...]]:
        found: dict[str, list[Trigger]] = defaultdict(list)
        for trigger in self.catalogue.triggers:
            found[self.table(trigger.table)].append(trigger)
        return {table: tuple(triggers) for table, triggers in found.items()}

    @cached_property
    def _rewritten(self) -> Mapping[str, frozenset[str]]:
        """Columns by table; the whole row, `*`, where a trigger replaces it."""
        found: dict[str, frozenset[str]] = {}
        for table, triggers in self._triggers.items():
            texts = [text for trigger in triggers for text in self._texts(trigger.body)]
            columns = {column.lower() for text in texts for column in _ASSIGNED.findall(text)}
            if any(_WHOLE_ROW.search(text) for text in texts):
                columns.add("*")
            if columns:
                found[table] = frozenset(columns)
        return found

    def _texts(self, body: str) -> Iterable[str]:
        yield body
        for word in {word.lower() for word in _WORD.findall(body)} & self._routines.keys():
            for routine in self._routines[word]:
                if routine.shipped or routine.language not in _TEXTUAL:
                    yield "new := whatever"
                yield routine.body


def _union(one: Touched, other: Touched) -> Touched:
    return None if one is None or other is None else one | other
