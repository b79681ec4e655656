"""A trace written by hand: requests at chosen moments, with the SQL they ran and what they answered."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    VolatileSeen,
)
from cachewright.spec.document import loads_spec
from cachewright.spec.target import Plan, compile_plan

MS = 1_000_000


def plan_of(text: str) -> Plan:
    """The plan of a specification given without its root key."""
    indented = "".join(f"  {line}\n" for line in text.strip("\n").split("\n"))
    return compile_plan(loads_spec(f"caching_specification:\n{indented}"))


@dataclass
class Recording:
    """All times are given in milliseconds."""

    hasher: Hasher = field(default_factory=lambda: Hasher(b"k" * 32))
    schema: SchemaSeen = field(
        default_factory=lambda: SchemaSeen(
            tables={"users": ("id", "name"), "tasks": ("id", "user_id", "title"), "notes": ("id", "task_id")},
            primary_keys={"users": ("id",), "tasks": ("id",), "notes": ("id",)},
            foreign_keys=(
                ForeignKey("tasks", ("user_id",), "users", ("id",), "CASCADE"),
                ForeignKey("notes", ("task_id",), "tasks", ("id",), "CASCADE"),
            ),
        )
    )
    routes: list[RouteSeen] = field(default_factory=list)
    requests: list[RequestSeen] = field(default_factory=list)
    texts: dict[str, StatementText] = field(default_factory=dict)
    statements: list[StatementSeen] = field(default_factory=list)
    images: list[ImageSeen] = field(default_factory=list)
    transactions: dict[int, TransactionSeen] = field(default_factory=dict)
    clear: dict[str, dict[str, str]] = field(default_factory=dict)
    volatile: tuple[VolatileSeen, ...] = ()

    def route(self, method: str, template: str, *params: str, credentials: tuple[str, ...] = ()) -> int:
        """Declare a route; parameters as `query:page`."""
        seen = tuple(
            ParamSeen(name.partition(":")[2], name.partition(":")[0], "int", False) for name in params
        )  # type: ignore[arg-type]
        number = len(self.routes) + 1
        self.routes.append(RouteSeen(number, method, template, f"app.{number}", seen, credentials))
        return number

    def request(
        self,
        route: int,
        at: float,
        took: float = 10,
        *,
        user: Any = None,
        body: str = "",
        values: dict[str, Any] | None = None,
        **changes: Any,
    ) -> int:
        """One request, with a bearer token of `user` where one is given; its body is known by its digest."""
        of_route = self.routes[route - 1]
        given = {**({"claim.sub": user} if user is not None else {}), **(values or {})}
        number = len(self.requests) + 1
        facts: dict[str, Any] = {
            "id": number,
            "route": route,
            "method": of_route.method,
            "started": int(at * MS),
            "answered": int((at + took) * MS),
            "returned": int((at + took) * MS),
            "status": 200,
            "size": 100,
            "digest": self.hasher.text(body),
            "credential": None if user is None else self.hasher.secret(str(user).encode()),
            "credential_expires": None,
            "values": {name: self.hasher.value(value) for name, value in given.items()},
            "reads": frozenset() if user is None else frozenset({"header:authorization"}),
            "outer_reads": frozenset(),
            "entered": int(at * MS),
            "set_cookie": False,
            "cache_control": frozenset(),
            "streamed": False,
            "background": False,
            "escaped": False,
            "worker": 1,
            "carrier": "header:authorization" if any(name.startswith("claim.") for name in given) else None,
        }
        self.requests.append(RequestSeen(**{**facts, **changes}))
        return number

    def sql(
        self,
        text: str,
        binds: tuple[Any, ...] = (),
        *,
        at: float,
        took: float = 1,
        request: int | None = None,
        transaction: int = 0,
        **changes: Any,
    ) -> int:
        """One execution; without a transaction it is committed when it returns."""
        seen = self.texts.setdefault(text, StatementText(len(self.texts) + 1, text, "sqlite", "qmark"))
        number = len(self.statements) + 1
        facts: dict[str, Any] = {
            "id": number,
            "request": request,
            "transaction": transaction,
            "text": seen.id,
            "started": int(at * MS),
            "ended": int((at + took) * MS),
            "rows": 1,
            "many": 0,
            "unit_of_work": False,
            "failed": False,
            "binds": {str(index): self.hasher.value(value) for index, value in enumerate(binds)},
        }
        self.statements.append(StatementSeen(**{**facts, **changes}))
        return number

    def image(
        self,
        transaction: int,
        table: str,
        action: str,
        old: dict[str, Any] | None,
        new: dict[str, Any] | None,
        *changed: str,
    ) -> None:
        """A row that a flush wrote."""
        hashed = [
            None if row is None else {column: self.hasher.column(value) for column, value in row.items()}
            for row in (old, new)
        ]
        self.images.append(ImageSeen(transaction, table, action, *hashed, frozenset(changed)))  # type: ignore[arg-type]

    def transaction(
        self, number: int, began: float, ended: float, *, request: int | None = None, committed: bool = True
    ) -> int:
        """The end of a transaction, which takes the last millisecond of it."""
        seen = TransactionSeen(
            number, request, int(began * MS), int((ended - 1) * MS), int(ended * MS), committed
        )
        self.transactions[number] = seen
        return number

    def trace(self) -> Trace:
        """All of it."""
        return Trace(
            application="app.main:app",
            recorded_at="2026-01-01T00:00:00+00:00",
            declared_identity={},
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
