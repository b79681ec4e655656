"""Recording a running application: what the eyes report goes into a trace, and the application does not wait.

In the request's own time only references are taken; hashing, masking and writing happen in the writer's
thread.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cachewright.capture.context import Clock, RequestContext
from cachewright.capture.events import RowImage, Statement, Transaction
from cachewright.capture.routes import Route
from cachewright.evidence.anonymise import Anonymiser, Asked, Flushed, Ran, Routed
from cachewright.evidence.hashing import Hasher
from cachewright.evidence.trace import ForeignKey, SchemaSeen, TransactionSeen
from cachewright.evidence.tracewriter import Record, TraceWriter, meta_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_KEY_BYTES = 32
_LONGEST_WAITING = 2_000
_MOST_DIRECTIVES = 16


class Recorder:
    """Watches requests and SQL for one trace: observer of `capture.asgi`, sink of `capture.database`.

    `declared_identity` is what the operator says of users and tenants (`{"user": "claim:sub"}`). `clock`
    gives monotonic nanoseconds, `wall` seconds since the epoch, `key` random bytes. `limit` bounds the events
    that wait to be written. Raises `EvidenceError` where the trace cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        application: str,
        declared_identity: Mapping[str, str],
        clock: Clock,
        key: Callable[[int], bytes] = os.urandom,
        *,
        wall: Callable[[], float] = time.time,
        worker: int = 0,
        overwrite: bool = False,
        limit: int = 20_000,
    ) -> None:
        now = wall()
        self._hasher = Hasher(key(_KEY_BYTES))
        self._numbers = itertools.count(1)
        self._open: dict[RequestContext, _Open] = {}
        self._schema = SchemaSeen()
        self._anonymiser = Anonymiser(
            self._hasher,
            wall_at_zero=now - clock() / 1e9,
            declared=frozenset(_identity_names(declared_identity.values())),
            worker=worker,
        )
        self._writer = TraceWriter(
            path,
            meta_of(application, datetime.fromtimestamp(now, UTC).isoformat(), declared_identity),
            self._anonymiser.records,
            periodic=self._tables,
            overwrite=overwrite,
            limit=limit,
        )

    @property
    def dropped(self) -> int:
        """How many events did not get into the trace."""
        return self._writer.dropped

    def add_routes(self, routes: Iterable[Route]) -> None:
        """Note the routes of the application, so that the trace knows those that nobody asks for too."""
        self._writer.put(Routed(tuple(routes)))

    def close(self) -> None:
        """Write what waits and finish the file."""
        self._writer.close()

    # requests

    async def enter(
        self,
        context: RequestContext,
        app: Callable[..., Awaitable[None]],
        scope: Any,
        receive: Receive,
        send: Send,
    ) -> None:
        """Run the route and take the digest of what it answers."""
        opened = self._opened(context)
        answer = opened.answer = _Answer(self._hasher)
        opened.scope = dict(scope)

        async def watched(message: Message) -> None:
            answer.saw(message)
            await send(message)

        await app(scope, receive, watched)

    async def answering(self, context: RequestContext) -> None:
        """A recorder lets every answer pass."""

    def finished(self, context: RequestContext) -> None:
        """The request is over: hand over what there is to say of it."""
        opened = self._opened(context)
        del self._open[context]
        answer = opened.answer
        if answer is None or not answer.status:
            answer = _Answer(self._hasher)
            answer.started(context.status, context.response_headers)
            answer.stream.update(str(context.size).encode())
        self._writer.put(
            Asked(
                id=opened.number,
                route=context.route,
                path_params=context.path_params,
                scope=context.scope if opened.scope is None else opened.scope,
                started=context.started,
                entered=context.entered,
                answered=context.answered or context.returned,
                returned=context.returned,
                status=context.status or answer.status,
                size=context.size,
                digest=self._hasher.finish(answer.stream),
                reads=frozenset(context.reads),
                outer_reads=frozenset(context.outer_reads),
                set_cookie=answer.set_cookie,
                cache_control=answer.cache_control,
                streamed=answer.bodies > 1,
                background=context.background,
                escaped=context.escaped,
            )
        )

    def _opened(self, context: RequestContext) -> _Open:
        opened = self._open.get(context)
        return opened or self._open.setdefault(context, _Open(next(self._numbers)))

    def _number(self, context: RequestContext | None) -> int | None:
        """The number of a request that is not over; what outlives its request belongs to none."""
        return None if context is None or context.returned else self._opened(context).number

    # SQL

    def executed(
        self, statement: Statement, transaction: Transaction, context: RequestContext | None
    ) -> None:
        """A statement ran (or failed)."""
        parameters, many = _first(statement.parameters, many=statement.many)
        self._writer.put(
            Ran(
                request=self._number(context),
                transaction=transaction.id,
                sql=statement.sql,
                dialect=statement.dialect,
                paramstyle=statement.paramstyle,
                parameters=self._shortened(parameters),
                many=many,
                started=statement.started,
                ended=statement.ended,
                rows=statement.rows,
                unit_of_work=statement.unit_of_work,
                failed=statement.failed,
            )
        )

    def flushed(
        self,
        images: Sequence[RowImage],
        transaction: Transaction,
        context: RequestContext | None,  # noqa: ARG002 - the transaction knows its request
    ) -> None:
        """A unit of work was written, not yet committed."""
        if images and transaction.id:
            self._writer.put(Flushed(transaction.id, images))

    def ended(
        self,
        transaction: Transaction,
        *,
        committed: bool,
        started: int,
        ended: int,
        context: RequestContext | None,
    ) -> None:
        """A commit or a rollback returned; an autocommitted statement speaks for itself."""
        if transaction.id:
            owner = self._number(context)
            self._writer.put(
                TransactionSeen(transaction.id, owner, transaction.began, started, ended, committed=committed)
            )

    def escaped(self, context: RequestContext | None) -> None:
        """A raw driver connection was handed out."""
        if context is not None:
            context.escaped = True

    def _shortened(self, parameters: Any) -> Any:
        """`parameters` without texts so long that they must not wait in memory."""
        if isinstance(parameters, Mapping):
            return {name: self._short(value) for name, value in parameters.items()}
        return [self._short(value) for value in parameters]

    def _short(self, value: Any) -> Any:
        if isinstance(value, str | bytes) and len(value) > _LONGEST_WAITING:
            return self._hasher.long(value)
        return value

    def _tables(self) -> Iterable[Record]:
        """The tables the application declares, when they are others than the last time."""
        if "sqlalchemy.orm" not in sys.modules:
            return ()
        from cachewright.capture.metadata import declared_tables

        try:
            tables = declared_tables()
        except RuntimeError:  # a table is being declared at this very moment: the next time will do
            return ()
        schema = SchemaSeen(
            tables=tables.columns,
            primary_keys=tables.primary_keys,
            foreign_keys=tuple(
                ForeignKey(key.table, key.columns, key.target, key.target_columns, key.on_delete)
                for key in tables.references
            ),
            inexact_columns=tables.inexact,
        )
        if schema == self._schema:
            return ()
        self._schema = schema
        return (schema,)


class _Open:
    """A request on its way."""

    __slots__ = ("answer", "number", "scope")

    def __init__(self, number: int) -> None:
        self.number = number
        self.answer: _Answer | None = None
        self.scope: dict[str, Any] | None = None


class _Answer:
    """What a route answers, as its messages pass by."""

    __slots__ = ("bodies", "cache_control", "set_cookie", "status", "stream")

    def __init__(self, hasher: Hasher) -> None:
        self.stream = hasher.stream()
        self.status = 0
        self.bodies = 0
        self.set_cookie = False
        self.cache_control: frozenset[str] = frozenset()

    def saw(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                self.started(message["status"], message.get("headers", ()))
            case "http.response.body":
                self.bodies += 1
                self.stream.update(message.get("body", b""))
            case "http.response.pathsend" | "http.response.zerocopysend":  # a file that the server will send
                self.bodies += 2

    def started(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status = status
        content_type = b""
        directives: set[str] = set()
        for name, value in headers:
            match name.lower():
                case b"content-type":
                    content_type = value
                case b"set-cookie":
                    self.set_cookie = True
                case b"cache-control":
                    directives.update(part.strip().lower() for part in value.decode("latin-1").split(","))
        self.cache_control = frozenset(sorted(directives - {""})[:_MOST_DIRECTIVES])
        self.stream.update(b"%d\n%s\n" % (status, content_type))


def _first(parameters: Any, *, many: bool) -> tuple[Any, int]:
    """The first set of parameters, and how many sets there are.

    A batch of `insertmanyvalues` is said to be many too, but is one statement with one set of parameters.
    """
    if not parameters:
        return (), 1
    if many and isinstance(parameters, list):
        return parameters[0], len(parameters)
    return parameters, 1


def _identity_names(sources: Iterable[str]) -> Iterable[str]:
    """The headers and cookies among the sources of an identity, by the names of key patterns."""
    for source in sources:
        where, _, name = source.partition(":")
        if where == "header" and name:
            yield f"header.{name.lower()}"
        elif where == "cookie" and name:
            yield f"cookie.{name}"
