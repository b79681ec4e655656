"""Traces made by hand: a small application with users, tasks and a clock, and traps to put into it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cachewright.evidence.hashing import Hasher
from cachewright.evidence.trace import (
    ForeignKey,
    ImageSeen,
    ParamSeen,
    RequestSeen,
    RouteSeen,
    SchemaSeen,
    StatementSeen,
    StatementText,
    Trace,
    TransactionSeen,
    Value,
    VolatileSeen,
)

MILLISECOND = 1_000_000
AUTHORIZATION = ("header:authorization",)
SCHEMA = SchemaSeen(
    tables={
        "users": ("id", "email", "name", "active"),
        "tasks": ("id", "owner_id", "title", "status", "due", "position"),
        "news": ("id", "title"),
    },
    primary_keys={"users": ("id",), "tasks": ("id",), "news": ("id",)},
    foreign_keys=(ForeignKey("tasks", ("owner_id",), "users", ("id",), "CASCADE"),),
)


@dataclass
class Call:
    """One request to add: what it shows, the SQL it runs, what it answers."""

    route: int
    values: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    credential: str | None = None
    sql: Sequence[tuple[str, Sequence[Any]]] = ()
    body: Any = None
    status: int = 200
    reads: frozenset[str] = frozenset()
    outer_reads: frozenset[str] = frozenset()
    images: Sequence[tuple[str, str, Mapping[str, Any] | None, Mapping[str, Any] | None]] = ()
    commits: bool = False
    milliseconds: float = 5.0
    set_cookie: bool = False
    streamed: bool = False
    cache_control: frozenset[str] = frozenset()
    carrier: str = "header:authorization"
    ignored: frozenset[str] = frozenset()


class TraceBuilder:
    """Adds requests one after the other (or overlapping, with `at`), and gives the trace of them."""

    def __init__(self, schema: SchemaSeen = SCHEMA, *, identity: Mapping[str, str] | None = None) -> None:
        self.schema = schema
        self.identity = dict(identity or {})
        self.hasher = Hasher(b"test")
        self.now = 1_000_000_000
        self.routes: list[RouteSeen] = []
        self.requests: list[RequestSeen] = []
        self.texts: dict[str, StatementText] = {}
        self.statements: list[StatementSeen] = []
        self.images: list[ImageSeen] = []
        self.transactions: dict[int, TransactionSeen] = {}
        self.clear: dict[str, dict[str, str]] = {}
        self.volatile: tuple[VolatileSeen, ...] = ()

    def route(
        self,
        method: str,
        template: str,
        *params: tuple[str, str, str],
        credentials: Sequence[str] = AUTHORIZATION,
    ) -> int:
        """Declare a route; `params` are (where, name, type)."""
        seen = tuple(ParamSeen(name, where, kind, required=where == "path") for where, name, kind in params)
        number = len(self.routes) + 1
        self.routes.append(RouteSeen(number, method, template, "app.main.handler", seen, tuple(credentials)))
        return number

    def add(self, call: Call, *, at: int | None = None, gap: float = 20.0) -> RequestSeen:
        """Add one request, `gap` ms after the one before unless it starts `at` (ns)."""
        if at is None:
            self.now += int(gap * MILLISECOND)
            at = self.now
        route = self.routes[call.route - 1]
        number = len(self.requests) + 1
        step = int(call.milliseconds * MILLISECOND) // (len(call.sql) + 3)
        moment = at + step
        transaction = len(self.transactions) + 1
        for sql, binds in call.sql:
            self._statement(
                number, transaction, sql, binds, span=(moment, moment + step // 2), uow=bool(call.images)
            )
            moment += step
        for table, action, old, new in call.images:
            self._image(transaction, table, action, old, new)
        if call.sql:
            self.transactions[transaction] = TransactionSeen(
                transaction, number, at + step // 2, moment, moment + step // 4, committed=call.commits
            )
        end = at + int(call.milliseconds * MILLISECOND)
        self.now = max(self.now, end)
        values = {name: self._value(value) for name, value in call.values.items()}
        values |= {f"claim.{name}": self._value(value) for name, value in call.claims.items()}
        request = RequestSeen(
            id=number,
            route=call.route,
            method=route.method,
            started=at,
            answered=end,
            returned=end,
            status=call.status,
            size=200,
            digest=self.hasher.text(repr(call.body)),
            credential=None if call.credential is None else self.hasher.secret(call.credential.encode()),
            credential_expires=None,
            values=values,
            reads=call.reads,
            outer_reads=call.outer_reads,
            entered=at + 1,
            set_cookie=call.set_cookie,
            cache_control=call.cache_control,
            streamed=call.streamed,
            background=False,
            escaped=False,
            worker=1,
            carrier=call.carrier if call.claims else None,
            ignored=call.ignored,
        )
        self.requests.append(request)
        return request

    def show(self, name: str, *texts: str) -> None:
        """Keep these values of a parameter in clear."""
        known = self.clear.setdefault(name, {})
        known.update({self._value(text).exact: text for text in texts})

    def build(self) -> Trace:
        return Trace(
            application="todo.main:app",
            recorded_at="2026-01-02T03:04:05+00:00",
            declared_identity=self.identity,
            routes=tuple(self.routes),
            requests=tuple(self.requests),
            texts={text.id: text for text in self.texts.values()},
            statements=tuple(self.statements),
            images=tuple(self.images),
            transactions=self.transactions,
            schema=self.schema,
            clear=self.clear,
            dropped=0,
            volatile=self.volatile,
        )

    def _statement(
        self,
        request: int,
        transaction: int,
        sql: str,
        binds: Sequence[Any],
        *,
        span: tuple[int, int],
        uow: bool,
    ) -> None:
        text = self.texts.setdefault(sql, StatementText(len(self.texts) + 1, sql, "sqlite", "qmark"))
        writes = not sql.lstrip().upper().startswith("SELECT")
        self.statements.append(
            StatementSeen(
                id=len(self.statements) + 1,
                request=request,
                transaction=transaction,
                text=text.id,
                started=span[0],
                ended=span[1],
                rows=1,
                many=1,
                unit_of_work=uow and writes,
                failed=False,
                binds={str(place): self._value(value) for place, value in enumerate(binds)},
            )
        )

    def _image(
        self,
        transaction: int,
        table: str,
        action: Any,
        old: Mapping[str, Any] | None,
        new: Mapping[str, Any] | None,
    ) -> None:
        def hashed(row: Mapping[str, Any] | None) -> dict[str, Value] | None:
            return None if row is None else {name: self.hasher.column(value) for name, value in row.items()}

        changed = set(old or new or {})
        if old is not None and new is not None:
            changed = {name for name in new if old.get(name) != new[name]}
        self.images.append(
            ImageSeen(transaction, table, action, hashed(old), hashed(new), frozenset(changed))
        )

    def _value(self, value: Any) -> Value:
        return self.hasher.value(value)


SELECT_USER = "SELECT users.id, users.email, users.active FROM users WHERE users.id = ?"
LIST = "SELECT tasks.id, tasks.title FROM tasks WHERE tasks.owner_id = ? ORDER BY tasks.id LIMIT ? OFFSET ?"
LIST_STATUS = (
    "SELECT tasks.id, tasks.title FROM tasks WHERE tasks.owner_id = ? AND tasks.status = ? "
    "ORDER BY tasks.id LIMIT ? OFFSET ?"
)
LIST_DUE = (
    "SELECT tasks.id, tasks.title FROM tasks WHERE tasks.owner_id = ? AND tasks.due < ? "
    "ORDER BY tasks.id LIMIT ? OFFSET ?"
)
DETAIL = "SELECT tasks.id, tasks.title, tasks.status FROM tasks WHERE tasks.id = ? AND tasks.owner_id = ?"
STATS = "SELECT count(tasks.id) AS n, tasks.status FROM tasks WHERE tasks.owner_id = ? GROUP BY tasks.status"
INSERT = "INSERT INTO tasks (owner_id, title, status) VALUES (?, ?, ?)"
UPDATE = "UPDATE tasks SET status=? WHERE tasks.id = ?"
DELETE = "DELETE FROM tasks WHERE tasks.id = ?"
MOVE = "UPDATE tasks SET owner_id=? WHERE tasks.status = ?"
NEWS = "SELECT news.id, news.title FROM news ORDER BY news.id"


class TodoTraffic:
    """Seeded traffic of a plain CRUD backend with JWTs: lists, details, statistics, writes.

    Options switch traps on; each is a backend of the kind that a careless cache would get wrong.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        users: int = 6,
        credentials: int = 1,
        claims: Mapping[str, Any] | None = None,
        identity: Mapping[str, str] | None = None,
        language: bool = False,
        keyed_language: bool = False,
        hidden_trigger: bool = False,
        per_credential: bool = False,
        due: bool = False,
        writes_on_read: bool = False,
        bulk_moves: bool = False,
        agent: bool = False,
        calm: bool = False,
    ) -> None:
        self.dice = random.Random(seed)
        self.build = TraceBuilder(identity=identity)
        self.users = list(range(1, users + 1))
        self.credentials = credentials
        self.extra_claims = claims or {}
        self.language, self.keyed_language = language, keyed_language
        self.hidden_trigger, self.per_credential = hidden_trigger, per_credential
        self.writes = (1, 3, 1) if calm else (4, 8, 2)
        self.due, self.writes_on_read, self.bulk_moves, self.agent = due, writes_on_read, bulk_moves, agent
        self.tasks: dict[int, dict[str, Any]] = {}
        self.created = 0
        self.ticks = 0
        listed = [("query", "status", "enum"), ("query", "page", "int")] + (
            [("query", "due", "str")] if due else []
        )
        self.list = self.build.route("GET", "/api/tasks", *listed)
        self.detail = self.build.route("GET", "/api/tasks/{task_id}", ("path", "task_id", "int"))
        self.stats = self.build.route("GET", "/api/tasks/stats")
        self.post = self.build.route("POST", "/api/tasks")
        self.patch = self.build.route("PATCH", "/api/tasks/{task_id}", ("path", "task_id", "int"))
        self.remove = self.build.route("DELETE", "/api/tasks/{task_id}", ("path", "task_id", "int"))
        self.news = self.build.route("GET", "/news", credentials=())
        self.build.show("query.status", "open", "done")
        self.build.show("query.due", "overdue", "all")
        for user in self.users:
            for _ in range(4):
                self._create(user)

    def run(self, requests: int) -> TraceBuilder:
        """Add this many requests."""
        kinds = ("list", "detail", "stats", "news", "create", "update", "delete")
        for _ in range(requests):
            kind = self.dice.choices(kinds, weights=(40, 25, 20, 10, *self.writes))[0]
            user = self.dice.choice(self.users)
            getattr(self, f"_{kind}")(user)
        return self.build

    def _who(self, user: int) -> dict[str, Any]:
        number = self.dice.randrange(self.credentials)
        claims = {"sub": str(user), "exp": 10_000 + number, "iat": number, **self.extra_claims}
        claims = {name: value(user) if callable(value) else value for name, value in claims.items()}
        outer = frozenset({"header:user-agent"} if self.agent else ())
        return {"credential": f"{user}/{number}", "claims": claims, "outer_reads": outer, "number": number}

    def _call(self, route: int, user: int, sql: list[tuple[str, list[Any]]], body: Any, **more: Any) -> None:
        who = self._who(user)
        number = who.pop("number")
        values = dict(more.pop("values", {}))
        reads = frozenset({"header:authorization"}) | more.pop("reads", frozenset())
        if self.language or self.keyed_language:
            language = self.dice.choice(["en", "de", "fr"])
            body = (language, body)
            if self.keyed_language:
                values["header.accept-language"] = language
                reads |= {"header:accept-language"}
        if self.per_credential:
            body = (number, body)
        if self.agent:
            values["header.user-agent"] = self.dice.choice(["curl", "firefox", "safari"])
        self.build.add(
            Call(
                route, values=values, sql=[(SELECT_USER, [user]), *sql], body=body, reads=reads, **who, **more
            )
        )

    def _mine(self, user: int) -> list[dict[str, Any]]:
        return [task for task in self.tasks.values() if task["owner_id"] == user]

    def _list(self, user: int) -> None:
        status = self.dice.choice([None, None, "open", "done"])
        page = self.dice.choice([1, 1, 1, 2])
        values: dict[str, Any] = {"query.status": status, "query.page": page}
        found = [task for task in self._mine(user) if status in (None, task["status"])]
        body = [(task["id"], task["title"]) for task in found][(page - 1) * 3 : page * 3]
        limits = [3, (page - 1) * 3]
        sql = (LIST, [user, *limits]) if status is None else (LIST_STATUS, [user, status, *limits])
        if self.due:
            due = self.dice.choice([None, None, "all", "overdue"])
            values["query.due"] = due
            if due == "overdue":
                self.ticks += 1
                moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.ticks)
                sql = (LIST_DUE, [user, moment, *limits])
                body = body[: self.ticks % 3]
        if self.hidden_trigger:
            body = [*body, self.ticks]
        more: dict[str, Any] = {}
        queries = [(sql[0], list(sql[1]))]
        if self.writes_on_read and self.dice.random() < 0.8:
            queries.append(("UPDATE users SET name=? WHERE users.id = ?", ["seen", user]))
            more = {
                "images": [("users", "update", {"id": user, "name": "old"}, {"id": user, "name": "seen"})],
                "commits": True,
            }
        self._call(self.list, user, queries, body, values=values, **more)

    def _detail(self, user: int) -> None:
        some = self._mine(user) if self.dice.random() < 0.8 else []
        task = self.dice.choice(some or list(self.tasks.values()))
        mine = task["owner_id"] == user
        body = (task["id"], task["title"], task["status"]) if mine else "not found"
        self._call(
            self.detail,
            user,
            [(DETAIL, [task["id"], user])],
            body,
            values={"path.task_id": task["id"]},
            status=200 if mine else 404,
        )

    def _stats(self, user: int) -> None:
        mine = self._mine(user)
        body = [sum(task["status"] == status for task in mine) for status in ("open", "done")]
        self._call(self.stats, user, [(STATS, [user])], body)

    def _news(self, _: int) -> None:
        self.build.add(Call(self.news, sql=[(NEWS, [])], body="news"))

    def _create(self, user: int) -> None:
        number = self.created = self.created + 1
        task = {"id": number, "owner_id": user, "title": f"t{number}", "status": "open"}
        self.tasks[number] = task
        self._call(
            self.post,
            user,
            [(INSERT, [user, task["title"], "open"])],
            task["id"],
            status=201,
            images=[("tasks", "insert", None, dict(task))],
            commits=True,
        )

    def _update(self, user: int) -> None:
        if self.hidden_trigger:
            self.ticks += self.dice.random() < 0.3
        if self.bulk_moves and self.dice.random() < 0.5:
            self._move(user)
            return
        mine = self._mine(user)
        if not mine:
            return
        task = self.dice.choice(mine)
        old = dict(task)
        task["status"] = "done" if task["status"] == "open" else "open"
        self._call(
            self.patch,
            user,
            [(UPDATE, [task["status"], task["id"]])],
            task["status"],
            values={"path.task_id": task["id"]},
            images=[("tasks", "update", old, dict(task))],
            commits=True,
        )

    def _move(self, user: int) -> None:
        """All done tasks get another owner, by one statement."""
        for task in self.tasks.values():
            if task["status"] == "done":
                task["owner_id"] = user
        self._call(
            self.patch, user, [(MOVE, [user, "done"])], "moved", values={"path.task_id": 1}, commits=True
        )

    def _delete(self, user: int) -> None:
        mine = self._mine(user)
        if len(mine) < 2:
            return
        task = self.dice.choice(mine)
        del self.tasks[task["id"]]
        self._call(
            self.remove,
            user,
            [(DELETE, [task["id"]])],
            None,
            status=204,
            values={"path.task_id": task["id"]},
            images=[("tasks", "delete", dict(task), None)],
            commits=True,
        )
