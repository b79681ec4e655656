"""Random statements over three small tables."""

import random

TABLES = {"a": ("id", "x", "y"), "b": ("id", "x", "y"), "c": ("id", "x", "y")}


class Writer:
    """Writes one random SELECT; the caller binds its placeholders as they stand."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.aliases = 0
        self.same = "IS"

    def statement(self) -> str:
        pick = self.dice.random()
        if pick < 0.1:
            return f"{self.select('id', 'x')} UNION ALL {self.select('y', 'x')}"
        if pick < 0.2:
            return f"WITH q AS ({self.select('id')}) SELECT count(*), max(q.id) FROM q JOIN b AS z ON z.id = q.id"
        if pick < 0.3:
            return f"SELECT d.id, z.x FROM ({self.select('id')}) AS d LEFT JOIN c AS z ON z.id = d.id AND {self.bound('z')}"
        if pick < 0.4:
            return self.bare()
        return self.select()

    def bare(self) -> str:
        """Columns without a table, and select aliases that SQLite lets WHERE use."""
        alias = self.dice.choice(("w", "x"))
        names = [self.dice.choice(("w", "x", "y", "y")) for _ in range(2)]
        return f"SELECT id + 1 AS {alias}, 5 AS w FROM {self.dice.choice('abc')} WHERE {names[0]} = ? AND {names[1]} = ?"

    def update(self) -> str:
        """An UPDATE that changes nothing and returns the rows it met."""
        target, name = self.table()
        sources, names = self.sources((), 0)
        parts = [self.edge(names, name), self.bound(self.dice.choice((name, *names)))]
        condition = f" {self.dice.choice(('AND', 'AND', 'OR'))} ".join(parts)
        return f"UPDATE {target} SET id = {name}.id FROM {sources} WHERE {condition} RETURNING id, x, y"

    def select(self, *columns: str, outer: tuple[str, ...] = (), depth: int = 0) -> str:
        sources, names = self.sources(outer, depth)
        if columns:
            wanted = [f"{names[0]}.{column} AS {column}" for column in columns]
        else:
            wanted = [f"{self.column(names)} AS c0", f"{self.column(names)} AS c1"]
        if not columns and depth == 0 and self.dice.random() < 0.25:
            wanted.append(f"({self.scalar(names)}) AS c2")
        if not columns and depth == 0 and self.dice.random() < 0.15:
            wanted = ["count(*) AS c0", f"sum({self.column(names)}) AS c1"]
        where = f" WHERE {self.condition(names, outer, depth)}" if self.dice.random() < 0.9 else ""
        return f"SELECT {', '.join(wanted)} FROM {sources}{where}"

    def scalar(self, outer) -> str:
        sources, names = self.sources(outer, 1)
        return f"SELECT count(*) FROM {sources} WHERE {self.condition(names, outer, 1)}"

    def sources(self, outer, depth) -> tuple[str, tuple[str, ...]]:
        text, first = self.table()
        names = [first]
        for _ in range(self.dice.choice((0, 0, 1, 1, 2) if depth == 0 else (0, 0, 1))):
            kind = self.dice.choice(
                ("JOIN", "LEFT JOIN", "LEFT JOIN", ",", "nested", "RIGHT JOIN", "FULL JOIN")
            )
            if kind == "nested":
                one, name = self.table()
                other, other_name = self.table()
                within = f"{self.edge((name,), other_name)}{self.maybe(other_name)}"
                outside = f"{self.edge(tuple(names), self.dice.choice((name, other_name)))}"
                side = self.dice.choice(("LEFT JOIN", "JOIN"))
                text = f"{text} {side} ({one} {self.dice.choice(('JOIN', 'LEFT JOIN'))} {other} ON {within}) ON {outside}"
                names += [name, other_name]
            elif kind == ",":
                other, name = self.table()
                text = f"{text} CROSS JOIN {other}"
                names.append(name)
            else:
                other, name = self.table()
                condition = f"{self.edge(tuple(names), name)}{self.maybe(self.dice.choice([*names, name]))}"
                text = f"{text} {kind} {other} ON {condition}"
                names.append(name)
        return text, tuple(names)

    def maybe(self, name) -> str:
        return f" AND {self.bound(name)}" if self.dice.random() < 0.4 else ""

    def edge(self, names, name) -> str:
        sides = [f"{name}.{self.dice.choice('xy')}", f"{self.dice.choice(names)}.{self.dice.choice('xy')}"]
        self.dice.shuffle(sides)
        operator = self.dice.choices(("=", "<", self.same), (8, 1, 1))[0]
        return f" {operator} ".join(sides)

    def condition(self, names, outer, depth) -> str:
        parts = [self.part(names, outer, depth) for _ in range(self.dice.choice((1, 2, 2, 3)))]
        text = parts[0]
        for each in parts[1:]:
            text = f"{text} {self.dice.choices(('AND', 'OR'), (6, 1))[0]} {each}"
        return text

    def part(self, names, outer, depth) -> str:
        pick = self.dice.random()
        if pick < 0.45:
            return self.bound(self.dice.choice(names))
        if pick < 0.6:
            return self.edge(names, self.dice.choice(names))
        if pick < 0.7 and outer:
            return self.edge(outer, self.dice.choice(names))
        if pick < 0.75 and outer:
            return self.bound(self.dice.choice(outer))
        if pick < 0.85 and depth < 2:
            inner = self.select("x", outer=(*names, *outer), depth=depth + 1)
            form = self.dice.choice(("EXISTS ({})", "NOT EXISTS ({})", f"{self.column(names)} IN ({{}})"))
            return form.format(inner)
        column = self.column(names)
        odd = (
            "NOT {} = ?",
            "{} + 0 = ?",
            "{} > ?",
            "({} = ? OR 1 = 0)",
            f"{{}} {self.same} ?",
            "{} IN (?, 1)",
            "coalesce({}, 0) = ?",
        )
        return self.dice.choice(odd).format(column)

    def bound(self, name) -> str:
        form = self.dice.choice(("{} = ?", "{} = ?", "? = {}", "({} = (?))", "{} IN (?)", "{} = 1"))
        return form.format(f"{name}.{self.dice.choice('xy')}")

    def column(self, names) -> str:
        return f"{self.dice.choice(names)}.{self.dice.choice(('id', 'x', 'y'))}"

    def table(self) -> tuple[str, str]:
        self.aliases += 1
        return f"{self.dice.choice('abc')} AS t{self.aliases}", f"t{self.aliases}"


class Query(Writer):
    """Writes SELECTs of the forms that a pin could be mistaken in; `postgres` leaves out what only SQLite has."""

    def __init__(self, dice: random.Random, *, postgres: bool) -> None:
        super().__init__(dice)
        self.postgres = postgres
        self.same = "IS NOT DISTINCT FROM" if postgres else "IS"

    def statement(self) -> str:
        forms = [
            self.plain,
            self.plain,
            self.plain,
            self.select,
            self.windowed,
            self.grouped,
            self.limited,
            self.compound,
            self.chained,
            self.listed,
        ]
        forms += [self.lateral, self.counted] if self.postgres else [self.in_table, self.bare]
        return self.dice.choice(forms)()

    def plain(self) -> str:
        """What applications ask most: rows by one or two columns, or by those of a table they point to."""
        table, name = self.table()
        if self.dice.random() < 0.5:
            return f"SELECT {name}.id, {name}.x, {name}.y FROM {table} WHERE {self.bound(name)}"
        other, other_name = self.table()
        edge = f"{other_name}.{self.dice.choice(('id', 'x'))} = {name}.{self.dice.choice('xy')}"
        return (
            f"SELECT {name}.id, {other_name}.y FROM {table} JOIN {other} ON {edge} WHERE {self.bound(name)}"
        )

    def windowed(self) -> str:
        table, name = self.table()
        window = self.dice.choice(("ORDER BY {0}.x, {0}.id", "PARTITION BY {0}.y", "")).format(name)
        inner = f"SELECT {name}.id, {name}.x, count(*) OVER ({window}) AS n FROM {table} {self.where(name)}"
        return (
            inner
            if self.dice.random() < 0.5
            else f"SELECT * FROM ({inner}) AS w WHERE w.{self.dice.choice(('x', 'n'))} = ?"
        )

    def grouped(self) -> str:
        table, name = self.table()
        having = self.dice.choice(
            ("", f"HAVING {name}.x = ?", "HAVING count(*) > 1", f"HAVING max({name}.id) = ?")
        )
        return f"SELECT {name}.x, count(*), sum({name}.y) FROM {table} {self.where(name)} GROUP BY {name}.x {having}"

    def limited(self) -> str:
        table, name = self.table()
        return (
            f"SELECT DISTINCT {name}.x, {name}.y FROM {table} {self.where(name)}"
            f" ORDER BY 1, 2 LIMIT {self.dice.choice((1, 2))} OFFSET {self.dice.choice((0, 1))}"
        )

    def compound(self) -> str:
        kind = self.dice.choice(("UNION", "UNION ALL", "EXCEPT", "INTERSECT"))
        return f"{self.select('id', 'x')} {kind} {self.select('x', 'y')}"

    def chained(self) -> str:
        """A common table expression named like a table, and one on top of another."""
        name = self.dice.choice(("q", "b" if self.postgres else "q"))  # where it reads b, SQLite recurses
        kept = self.dice.choice(("", "WHERE p.x = ?"))
        return (
            f"WITH {name} AS ({self.select('id', 'x')}), p AS (SELECT id, x FROM {name} WHERE x = ?)"
            f" SELECT z.id, p.x FROM {self.dice.choice('ac')} AS z {self.dice.choice(('JOIN', 'LEFT JOIN'))} p ON p.x = z.x {kept}"
        )

    def listed(self) -> str:
        """Lists, row values, comparisons with NULL and merged columns."""
        table, name = self.table()
        other, other_name = self.table()
        joined = self.dice.choice(
            (f"JOIN {other} USING (x)", f"NATURAL JOIN {other}", f"LEFT JOIN {other} USING (x)")
        )
        if self.dice.random() < 0.3:
            return f"SELECT {name}.id, {other_name}.y FROM {table} {joined} WHERE {self.dice.choice((f'{name}.y = ?', 'x = ?'))}"
        condition = self.dice.choice((
            "({0}.x, {0}.y) = (?, ?)", "({0}.x, {0}.y) IN ((?, ?))", "{0}.x IN (?, ?)", "{0}.x NOT IN (?)", "{0}.x = NULL",
            "({0}.x = ?) IS TRUE", "NOT ({0}.x <> ?)", "{0}.x BETWEEN ? AND ?", "CASE WHEN {0}.x = ? THEN {0}.y = ? ELSE 1 = 1 END",
            "{0}.x = ? AND {0}.y = {0}.x", "{0}.x = {0}.y AND ? = {0}.y AND {0}.id > 0", "(({0}.x = ?) = ({0}.y = ?))",
        )).format(name)  # fmt: skip
        return f"SELECT {name}.id, {name}.x FROM {table} WHERE {condition}"

    def lateral(self) -> str:
        table, name = self.table()
        inner, inside = self.table()
        condition = self.condition((inside,), (name,), 2)
        side = self.dice.choice(("CROSS JOIN LATERAL {}", "LEFT JOIN LATERAL {} ON true", ", LATERAL {}"))
        query = side.format(f"(SELECT {inside}.x FROM {inner} WHERE {condition} ORDER BY 1 LIMIT 1) AS l")
        return f"SELECT {name}.id, l.x FROM {table} {query} {self.where(name)}"

    def counted(self) -> str:
        table, name = self.table()
        return (
            f"SELECT count(*) FILTER (WHERE {name}.x = ?), array_agg({name}.y ORDER BY {name}.y, {name}.id)"
            f" FROM {table} WHERE {name}.x {self.dice.choice(('= ANY(ARRAY[?, 1])', 'IS NOT DISTINCT FROM ?', '= ?'))}"
        )

    def in_table(self) -> str:
        table, name = self.table()
        condition = f"{name}.x IN {self.dice.choice(('one', 'main.one'))}"
        return f"SELECT {name}.id FROM {table} WHERE {condition} AND {name}.y = ?"

    def where(self, name: str) -> str:
        return self.dice.choice(
            ("", f"WHERE {self.bound(name)}", f"WHERE {self.bound(name)} AND {self.bound(name)}")
        )


class Change(Writer):
    """Writes random INSERTs, UPDATEs and DELETEs."""

    def __init__(self, dice: random.Random, *, postgres: bool) -> None:
        super().__init__(dice)
        self.postgres = postgres

    def statement(self) -> str:
        forms = [
            self.insert,
            self.insert,
            self.update_rows,
            self.update_rows,
            self.delete,
            self.upsert,
            self.copied,
            self.joined,
            self.pair,
        ]
        forms += [self.merge, self.moved] if self.postgres else [self.replace, self.limited_conflict]
        return self.dice.choice(forms)()

    def target(self) -> str:
        return self.dice.choice("abc")

    def insert(self) -> str:
        columns = self.dice.choice(("id, x, y", "id, y", "y, x, id"))
        row = f"({', '.join('?' for _ in columns.split(','))})"
        rows = ", ".join([row] * self.dice.choice((1, 1, 2)))
        end = self.dice.choice(("", "", " RETURNING id", " ON CONFLICT DO NOTHING"))
        return f"INSERT INTO {self.target()} ({columns}) VALUES {rows}{end}"

    def upsert(self) -> str:
        action = self.dice.choice(("x = excluded.x", "y = NULL", "x = ?, y = a.y"))
        return f"INSERT INTO a (id, x, y) VALUES (?, ?, NULL) ON CONFLICT (id) DO UPDATE SET {action}"

    def copied(self) -> str:
        return f"INSERT INTO {self.dice.choice('bc')} (id, x) SELECT id, x FROM a WHERE {self.column_is('a')}"

    def replace(self) -> str:
        return "REPLACE INTO a (id, x) VALUES (?, ?)"

    def limited_conflict(self) -> str:
        return "INSERT OR REPLACE INTO a (id, x, y) VALUES (?, ?, NULL)"

    def update_rows(self) -> str:
        table = self.target()
        setting = self.dice.choice(
            (
                "x = ?",
                "x = ?, y = NULL",
                "y = ?",
                "x = y",
                "x = x + 1",
                "id = ?",
                "x = y, y = x",
                "(x, y) = (?, NULL)",
                "x = NULL",
            )
        )
        return f"UPDATE {table} SET {setting} WHERE {self.conditions(table)}"

    def joined(self) -> str:
        table, (other, name) = self.target(), self.table()
        return f"UPDATE {table} SET x = {name}.x FROM {other} WHERE {name}.id = {table}.id AND {self.bound(self.dice.choice((name, table)))}"

    def pair(self) -> str:
        table = self.target()
        inner, name = self.table()
        return f"DELETE FROM {table} WHERE {self.dice.choice('xy')} = ? AND id IN (SELECT {name}.id FROM {inner} WHERE {self.bound(name)})"

    def delete(self) -> str:
        table = self.target()
        return f"DELETE FROM {table} WHERE {self.conditions(table)}"

    def merge(self) -> str:
        table = self.target()
        action = self.dice.choice(("UPDATE SET x = s.x", "DELETE", "UPDATE SET y = NULL"))
        return f"MERGE INTO {table} USING b AS s ON s.id = {table}.id AND s.x = ? WHEN MATCHED THEN {action}"

    def moved(self) -> str:
        return f"WITH gone AS (DELETE FROM b WHERE {self.column_is('b')} RETURNING id, x) INSERT INTO c (id, x) SELECT id, x FROM gone"

    def conditions(self, table: str) -> str:
        parts = [self.column_is(table) for _ in range(self.dice.choice((1, 1, 2)))]
        return f" {self.dice.choices(('AND', 'OR'), (4, 1))[0]} ".join(parts)

    def column_is(self, table: str) -> str:
        form = self.dice.choice(
            ("{} = ?", "{} = ?", "{} = ?", "? = {}", "{} IN (?)", "{} IN (?, ?)", "{} > ?", "{} IS NULL")
        )
        return form.format(f"{table}.{self.dice.choice(('id', 'x', 'y'))}")
