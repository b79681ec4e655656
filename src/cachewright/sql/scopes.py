"""The SELECTs of a statement as scopes: which names stand in which FROM, how they are joined and filtered.

Each SELECT, and each UPDATE, DELETE or MERGE, is one scope; scopes that may look outwards know their outer
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from cachewright.sql.names import Schema


@dataclass(slots=True, eq=False)
class Source:
    """One name in a FROM clause.

    `table` is None for what is no table (a derived table, a CTE, a function). `known` are the declared
    columns. `renamed` sources cannot be reached by the table's own column names. A `target` is written,
    not read.
    """

    alias: str
    table: str | None
    known: frozenset[str] | None = None
    renamed: bool = False
    target: bool = False
    touched: set[str] = field(default_factory=set)
    touched_all: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A join condition: `outer` joins keep every row of `left`, inner ones only matches."""

    condition: exp.Expr
    outer: bool
    left: tuple[Source, ...]
    right: tuple[Source, ...]


@dataclass(slots=True, eq=False)
class Scope:
    """One SELECT or one writing statement, with everything in it that is not a scope of its own.

    `exotic` scopes hold a join whose rules are not modelled (RIGHT, FULL, ASOF ...); `loose` ones pin
    nothing (recursive CTEs). `visible` are the names of the common table expressions in reach, `merged`
    the columns of USING clauses; `natural` joins merge who knows which.
    """

    outer: Scope | None
    visible: frozenset[str]
    sources: list[Source] = field(default_factory=list)
    where: list[exp.Expr] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    nodes: list[exp.Expr] = field(default_factory=list)
    aliases: set[str] = field(default_factory=set)
    merged: set[str] = field(default_factory=set)
    natural: bool = False
    exotic: bool = False
    loose: bool = False

    def chain(self) -> Iterator[Scope]:
        """Yield this scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer


def part(node: exp.Expr, name: str) -> exp.Expr | None:
    """Give one child; older parsers call what is now `from_` and `with_` by the bare word."""
    found = node.args.get(f"{name}_") or node.args.get(name)
    return found if isinstance(found, exp.Expr) else None


def children(node: exp.Expr, *, but: tuple[str, ...] = ()) -> Iterator[exp.Expr]:
    """Yield the child expressions of a node, except those of some arguments."""
    for name, value in node.args.items():
        if name.rstrip("_") in but:
            continue
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, exp.Expr):
                yield child


def conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the parts of a top-level AND.

    XOR binds between AND and OR in MySQL, and the parser groups it otherwise: a condition that holds one
    is one part.
    """
    if condition.find(exp.Xor):
        yield condition
        return
    open_parts = [condition]
    while open_parts:
        node = open_parts.pop()
        match node:
            case exp.And():
                open_parts += [node.expression, node.this]
            case exp.Paren():
                open_parts.append(node.this)
            case _:
                yield node


class Reader:
    """Walks one statement and collects its scopes.

    `scopes` holds outer ones before inner ones. `claimed` are ids of the `exp.Table` nodes accounted for:
    a table that nobody claimed is one that this module does not understand. `writing` are the writing
    statements found in common table expressions, with the names visible to them.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.scopes: list[Scope] = []
        self.claimed: set[int] = set()
        self.writing: list[tuple[exp.Expr, frozenset[str]]] = []

    def query(self, node: exp.Expr, around: Scope) -> None:
        """Read a SELECT, a set operation, or either in parentheses. `around` supplies what it can see."""
        around = self.with_ctes(node, around)
        match node:
            case exp.Select():
                self._select(node, around)
            case exp.SetOperation():
                self.query(node.this, around)
                self.query(node.expression, around)
                self._rest(node, around, but=("this", "expression", "with"))
            case exp.Subquery():
                self.query(node.this, around)
                self._rest(node, around, but=("this", "with", "alias"))
            case _:
                self.own(node, self.open(around))

    def open(self, around: Scope, *, outer: Scope | None = None) -> Scope:
        """Start a scope inside `around`; by default it sees what `around` sees outwards."""
        scope = Scope(outer or around.outer, around.visible, loose=around.loose)
        self.scopes.append(scope)
        return scope

    def with_ctes(self, node: exp.Expr, around: Scope) -> Scope:
        """Read the common table expressions of a node; give the surroundings in which the node itself stands.

        A recursive one pins nothing inside. SQLite recurses without the keyword, so a body that
        mentions its own name is taken for recursive too, and the name also for a table.
        """
        clause = part(node, "with")
        if clause is None:
            return around
        recursive = bool(clause.args.get("recursive"))
        visible = around.visible
        if recursive:
            visible |= {cte.alias.lower() for cte in clause.expressions}
        for cte in clause.expressions:
            name = cte.alias.lower()
            body = cte.this
            own = any(table.name.lower() == name and not table.db for table in body.find_all(exp.Table))
            inside = Scope(around.outer, visible, loose=around.loose or recursive or own)
            if isinstance(body, exp.DML) and not isinstance(body, exp.Query):
                self.writing.append((body, visible))
            else:
                self.query(body, inside)
            visible |= {name}
        return Scope(around.outer, visible, loose=around.loose)

    def _select(self, node: exp.Select, around: Scope) -> None:
        scope = self.open(around)
        scope.loose = scope.loose or bool(node.args.get("connect"))
        scope.aliases = {
            column.alias.lower()
            for column in node.expressions
            if isinstance(column, exp.Alias)
            and not (isinstance(column.this, exp.Column) and column.this.name.lower() == column.alias.lower())
        }
        self.sources_of(node, scope)
        if where := part(node, "where"):
            scope.where = list(conjuncts(where.this))
        self._rest(node, scope, but=("from", "joins", "laterals", "with"), inside=scope)

    def sources_of(self, node: exp.Expr, scope: Scope) -> None:
        """Read FROM, joins and laterals of a node into its scope."""
        if clause := part(node, "from"):
            self.source(clause.this, scope)
        for join in node.args.get("joins") or ():
            self._join(join, scope, tuple(scope.sources))
        for lateral in node.args.get("laterals") or ():
            self.source(lateral, scope)

    def source(self, node: exp.Expr, scope: Scope) -> tuple[Source, ...]:
        """Read one item of a FROM clause, with the joins that are nested in it."""
        before = len(scope.sources)
        match node:
            case exp.Table() if isinstance(node.this, exp.Identifier):
                scope.sources.append(self.table(node, scope))
            case exp.Subquery() if isinstance(node.this, exp.Table | exp.Subquery):
                self._group(node, scope)
            case exp.Subquery() | exp.Select() | exp.SetOperation():
                scope.sources.append(Source(node.alias.lower(), None))
                self.query(node, scope)
            case _:
                if isinstance(node, exp.Table) and isinstance(node.this, exp.Func):
                    self.claimed.add(id(node))
                scope.sources.append(Source(node.alias.lower(), None))
                self._rest(node, scope, but=("joins", "alias"), inside=scope)
        for join in node.args.get("joins") or ():
            self._join(join, scope, tuple(scope.sources[before:]))
        return tuple(scope.sources[before:])

    def table(self, node: exp.Table, scope: Scope) -> Source:
        """Name a table; the mention is accounted for."""
        self.claimed.add(id(node))
        alias = (node.alias or node.name).lower()
        if not node.db and node.name.lower() in scope.visible:
            return Source(alias, None)
        name = self.schema.resolve(node.text("db"), node.name)
        renamed = bool(node.alias_column_names or node.args.get("pivots"))
        self._rest(node, scope, but=("this", "alias", "joins", "db", "catalog"), inside=scope)
        return Source(alias, name, None if renamed else self.schema.columns(name), renamed)

    def _group(self, node: exp.Subquery, scope: Scope) -> None:
        inside = self.source(node.this, scope)
        if node.alias:
            for source in inside:
                source.alias, source.known, source.renamed = "", None, True
            scope.sources.append(Source(node.alias.lower(), None))

    def _join(self, join: exp.Join, scope: Scope, left: tuple[Source, ...]) -> None:
        right = self.source(join.this, scope)
        outer = join.side == "LEFT"
        known = join.side in {"", "LEFT"} and join.kind in {"", "INNER", "CROSS", "OUTER"}
        scope.natural = scope.natural or join.method == "NATURAL"
        scope.exotic = scope.exotic or not known or join.method not in {"", "NATURAL"}
        scope.merged |= {column.name.lower() for column in join.args.get("using") or ()}
        if condition := part(join, "on"):
            scope.matches += [Match(each, outer, left, right) for each in conjuncts(condition)]
            self.own(condition, scope)

    def _rest(
        self, node: exp.Expr, around: Scope, *, but: tuple[str, ...], inside: Scope | None = None
    ) -> None:
        left = list(children(node, but=but))
        if left:
            scope = inside or self.open(around)
            for child in left:
                self.own(child, scope)

    def own(self, node: exp.Expr, scope: Scope) -> None:
        """Collect the expressions that belong to a scope, and read the queries among them."""
        open_nodes = [node]
        while open_nodes:
            each = open_nodes.pop()
            if isinstance(each, exp.Query):
                self.query(each, Scope(scope, scope.visible, loose=scope.loose))
                continue
            if isinstance(each, exp.In) and isinstance(each.args.get("field"), exp.Column):
                self._listed(each.args["field"], scope)
            if isinstance(each, exp.Lock):
                self.claimed |= {id(table) for table in each.find_all(exp.Table)}
            scope.nodes.append(each)
            open_nodes += reversed(list(children(each)))

    def _listed(self, name: exp.Column, scope: Scope) -> None:
        """SQLite's `x IN t`: all rows of a table that stands there like a column."""
        if name.table or name.name.lower() not in scope.visible:
            table = self.schema.resolve(name.table, name.name)
            inside = self.open(scope)
            inside.sources.append(Source(name.name.lower(), table, touched_all=True))
