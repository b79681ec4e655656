"""INSERT, UPDATE, DELETE and MERGE: what they change, and how much of it the statement gives away."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cachewright.sql.columns import owner
from cachewright.sql.facts import Action, Assigned, Operand, Write
from cachewright.sql.operands import Operands
from cachewright.sql.pins import Pinning
from cachewright.sql.scopes import Reader, Scope, Source, children, conjuncts, part
from cachewright.sql.script import LONGEST_LIST

_KEEPS_VALUES = frozenset({"", "ABORT", "FAIL", "IGNORE", "ROLLBACK"})


@dataclass(frozen=True, slots=True)
class Change:
    """A write whose pins are not solved yet."""

    target: Source
    action: Action
    assigned: Assigned = ()
    value_sets: tuple[Assigned, ...] = ()
    whole: bool = False

    def write(self, pinning: Pinning) -> Write:
        """Give the write, once the pins of its scope are known.

        Raises ValueError if the target is not a table.
        """
        if self.target.table is None:
            raise ValueError("a writing statement whose target is not a table")
        pinned: tuple[tuple[str, Operand], ...] = ()
        if self.action in {"update", "delete"}:
            pinned = tuple((column, pin.operand) for column, pin in pinning.of(self.target).items())
        return Write(
            table=self.target.table,
            action=self.action,
            pinned=pinned,
            assigned=self.assigned,
            value_sets=self.value_sets,
            whole=self.whole or (self.action != "insert" and not pinned),
        )


@dataclass(frozen=True, slots=True)
class WriteReader:
    """Reads writing statements into changes; whatever they read themselves goes to `reader`."""

    reader: Reader
    operands: Operands

    def changes(
        self, node: exp.Expr, visible: frozenset[str], *, replaces: bool = False
    ) -> tuple[Change, ...]:
        """Read one writing statement that sees the common table expressions `visible`.

        `replaces` marks MySQL's and SQLite's REPLACE. Raises ValueError for a form that is not understood.
        """
        around = self.reader.with_ctes(node, Scope(None, visible))
        match node:
            case exp.Insert():
                return (self._insert(node, around, replaces=replaces),)
            case exp.Update():
                return self._update(node, around)
            case exp.Delete():
                return self._delete(node, around)
            case exp.Merge():
                return self._merge(node, around)
            case _:
                raise ValueError(f"not a writing statement: {node.key}")

    def _insert(self, node: exp.Insert, around: Scope, *, replaces: bool) -> Change:
        into, columns = node.this, None
        if isinstance(into, exp.Schema):
            columns = tuple(column.name.lower() for column in into.expressions)
            into = into.this
        if not isinstance(into, exp.Table) or not isinstance(into.this, exp.Identifier):
            raise ValueError("an INSERT whose target is not a plain table")  # noqa: TRY004 - a form of SQL
        # A common table expression of the same name does not stand in for the target.
        target = self.reader.table(into, Scope(None, frozenset()))
        target.target = True
        self._rest(node, around, target, but=("this", "expression", "with"))
        values = part(node, "expression")
        if isinstance(values, exp.Query):
            self.reader.query(values, around)
        elif values is not None:
            self.reader.own(values, self.reader.open(around))
        if replaces or _may_update(node):
            return Change(target, "any", whole=True)
        return self._inserted(node, target, columns, values)

    def _inserted(
        self,
        node: exp.Insert,
        target: Source,
        columns: tuple[str, ...] | None,
        values: exp.Expr | None,
    ) -> Change:
        if node.args.get("default"):
            return Change(target, "insert", value_sets=((),))
        rows, order = _rows(values)
        # MySQL's IGNORE cuts values to fit instead of refusing them.
        adjusted = node.args.get("ignore") or node.args.get("overwrite")
        if rows is None or columns is None or adjusted or len(rows) > LONGEST_LIST:
            return Change(target, "insert", whole=True)
        places = order if order is not None else tuple(range(len(columns)))
        sets: list[Assigned] = []
        for row in rows:
            if len(places) != len(columns) or (order is None and len(row) != len(columns)):
                return Change(target, "insert", whole=True)
            cells = (None if place is None else row[place] for place in places)
            sets.append(
                tuple((name, self.operands.read(cell)) for name, cell in zip(columns, cells, strict=True))
            )
        return Change(target, "insert", value_sets=tuple(sets))

    def _update(self, node: exp.Update, around: Scope) -> tuple[Change, ...]:
        scope = self.reader.open(around)
        written = self.reader.source(node.this, scope)
        self.reader.sources_of(node, scope)
        self._filter(node, scope, but=("this", "expressions", "from", "joins", "where", "with"))
        if len(written) == 1:
            target = _by_alias(written[0], scope)
            target.target = True
            assigned, clear = self._assignments(node, scope)
            return (Change(target, "update", assigned=assigned if clear else (), whole=not clear),)
        return self._update_several(node, scope, written)

    def _update_several(
        self, node: exp.Update, scope: Scope, written: tuple[Source, ...]
    ) -> tuple[Change, ...]:
        """MySQL's UPDATE of a join: a SET column tells by its qualifier which table it changes."""
        by_target: dict[int, list[exp.Expr]] = {}
        for setting in node.expressions:
            source = owner(scope, setting.this) if isinstance(setting.this, exp.Column) else None
            if source is None:
                return self._all_of(node, scope, written)
            by_target.setdefault(scope.sources.index(source), []).append(setting)
        self._assignments(node, scope)
        changes: list[Change] = []
        for place, settings in by_target.items():
            scope.sources[place].target = True
            assigned = tuple(
                (each.this.name.lower(), self.operands.read(each.expression)) for each in settings
            )
            changes.append(Change(scope.sources[place], "update", assigned=assigned))
        return tuple(changes)

    def _all_of(self, node: exp.Update, scope: Scope, written: tuple[Source, ...]) -> tuple[Change, ...]:
        self._assignments(node, scope)
        return tuple(Change(source, "update", whole=True) for source in written if source.table)

    def _assignments(self, node: exp.Update, scope: Scope) -> tuple[Assigned, bool]:
        """Give the SET list, and whether every item of it is `column = expression`."""
        assigned: list[tuple[str, Operand | None]] = []
        clear = True
        for setting in node.expressions:
            if isinstance(setting, exp.EQ) and isinstance(setting.this, exp.Column):
                assigned.append((setting.this.name.lower(), self.operands.read(setting.expression)))
                self.reader.own(setting.expression, scope)
            else:
                clear = False
                self.reader.own(setting, scope)
        return tuple(assigned), clear

    def _delete(self, node: exp.Delete, around: Scope) -> tuple[Change, ...]:
        scope = self.reader.open(around)
        written = self.reader.source(node.this, scope)
        using = node.args.get("using")
        for item in using if isinstance(using, list) else ():
            self.reader.source(item, scope)
        self._filter(node, scope, but=("this", "using", "tables", "where", "with"))
        named = node.args.get("tables") or ()
        self.reader.claimed |= {id(table) for table in named}
        targets = [_named(table, scope) for table in named] or [_by_alias(each, scope) for each in written]
        for target in targets:
            target.target = True
        return tuple(Change(target, "delete") for target in targets)

    def _merge(self, node: exp.Merge, around: Scope) -> tuple[Change, ...]:
        scope = self.reader.open(around)
        target, *_ = self.reader.source(node.this, scope)
        target.target = True
        if using := part(node, "using"):
            self.reader.source(using, scope)
        for child in children(node, but=("this", "using", "with")):
            self.reader.own(child, scope)
        return (Change(target, "any", whole=True),)

    def _filter(self, node: exp.Expr, scope: Scope, *, but: tuple[str, ...]) -> None:
        if where := part(node, "where"):
            scope.where = list(conjuncts(where.this))
            self.reader.own(where, scope)
        for child in children(node, but=but):
            self.reader.own(child, scope)

    def _rest(self, node: exp.Expr, around: Scope, target: Source, *, but: tuple[str, ...]) -> None:
        scope = self.reader.open(around)
        scope.sources.append(target)
        for child in children(node, but=but):
            self.reader.own(child, scope)


def _may_update(node: exp.Insert) -> bool:
    conflict = part(node, "conflict")
    if conflict is not None:
        action = conflict.args.get("action")
        if not isinstance(action, exp.Expr) or action.name.upper() != "DO NOTHING":
            return True
    return (node.args.get("alternative") or "") not in _KEEPS_VALUES


def _rows(
    values: exp.Expr | None,
) -> tuple[list[list[exp.Expr]] | None, tuple[int | None, ...] | None]:
    """Give the rows of VALUES, and which of their places go to the inserted columns, None meaning: in order.

    SQLAlchemy inserts many rows as `SELECT p0, p1 FROM (VALUES ...) AS imp_sen(p0, p1, sen_counter)`.
    """
    match values:
        case exp.Values() if not values.args.get("joins"):
            return _tuples(values), None
        case exp.Select() if set(_present(values)) <= {"expressions", "from", "order"}:
            clause = part(values, "from")
            inner = clause.this if clause is not None else None
            if not isinstance(inner, exp.Values) or inner.args.get("joins"):
                return None, None
            names = [name.lower() for name in inner.alias_column_names]
            return _tuples(inner), tuple(_place(each, names) for each in values.expressions)
        case _:
            return None, None


def _present(node: exp.Expr) -> list[str]:
    return [name.rstrip("_") for name, value in node.args.items() if value]


def _tuples(values: exp.Values) -> list[list[exp.Expr]] | None:
    rows: list[list[exp.Expr]] = []
    for row in values.expressions:
        if not isinstance(row, exp.Tuple):
            return None
        rows.append(row.expressions)
    width = {len(row) for row in rows}
    return rows if len(width) == 1 else None


_UNLIMITED = frozenset({"BIGINT", "BOOLEAN", "INT", "SMALLINT", "TEXT", "UUID", "VARCHAR"})


def _place(node: exp.Expr, names: list[str]) -> int | None:
    if type(node) is exp.Cast and node.to.this.value in _UNLIMITED and not node.to.expressions:
        node = node.this
    if isinstance(node, exp.Column) and node.name.lower() in names:
        return names.index(node.name.lower())
    return None


def _by_alias(target: Source, scope: Scope) -> Source:
    """Find the target again if FROM or USING names it a second time, as Transact-SQL and MySQL let it."""
    again = [source for source in scope.sources if source is not target and source.alias == target.alias]
    if not again:
        return target
    scope.sources.remove(target)
    return again[0]


def _named(table: exp.Expr, scope: Scope) -> Source:
    found = [source for source in scope.sources if source.alias == table.name.lower()]
    if len(found) != 1:
        raise ValueError(f"{table.name} is to be deleted from, but FROM does not hold it once")
    return found[0]
