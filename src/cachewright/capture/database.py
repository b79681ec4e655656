"""Listening to every SQLAlchemy engine and session of the process: statements, row images, real commits.

SQLAlchemy's own `commit` event fires before the driver commits, so the dialect's `do_commit` is wrapped; a write
counts as committed only once that returned.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.pool import Pool

from cachewright.capture.context import CURRENT, Clock
from cachewright.capture.events import Statement, Transaction
from cachewright.capture.sink import SqlSink
from cachewright.sql.names import table_name
from cachewright.capture.images import images_of_flush

_TRANSACTION = "cachewright.transaction"
_RAW = "cachewright.raw"
_STARTED = "_cachewright_started"


class DatabaseWatch:
    """The listeners on behalf of one sink; `close` removes them."""

    def __init__(self, sink: SqlSink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._ids = itertools.count(1)
        self._unit_of_work_caches: set[int] = set()
        self._wrapped: list[tuple[Any, str, Any]] = []
        self._dialects: set[int] = set()
        self._raw_connection = Engine.raw_connection
        self._listeners: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
            (Engine, "engine_connect", self._connected),
            (Engine, "begin", self._began),
            (Engine, "before_cursor_execute", self._executing),
            (Engine, "after_cursor_execute", self._executed),
            (Engine, "handle_error", self._failed),
            (Session, "after_flush", self._flushed),
            (Pool, "checkin", self._returned),
        )

    def open(self) -> DatabaseWatch:
        """Start listening."""
        for target, name, listener in self._listeners:
            event.listen(target, name, listener)
        Engine.raw_connection = self._handing_out()  # type: ignore[method-assign]  # events do not show it
        return self

    def close(self) -> None:
        """Stop listening; engines and dialects are as they were."""
        for target, name, listener in self._listeners:
            event.remove(target, name, listener)
        Engine.raw_connection = self._raw_connection  # type: ignore[method-assign]
        for dialect, name, original in reversed(self._wrapped):
            setattr(dialect, name, original)
        self._wrapped.clear()
        self._dialects.clear()

    # engines

    def _connected(self, connection: Connection, *_: Any) -> None:
        dialect = connection.dialect
        if id(dialect) in self._dialects:
            return
        self._dialects.add(id(dialect))
        for name, committed in (("do_commit", True), ("do_rollback", False)):
            self._wrap(dialect, name, committed=committed)
        for name, committed in (("do_commit_twophase", True), ("do_rollback_twophase", False)):
            self._wrap_two_phase(dialect, name, committed=committed)

    def _wrap(self, dialect: Any, name: str, *, committed: bool) -> None:
        original = getattr(dialect, name)

        def ending(dbapi_connection: Any) -> None:
            transaction = dbapi_connection.info.pop(_TRANSACTION, None)
            started = self._clock()
            try:
                original(dbapi_connection)
            finally:  # a commit that raised may still have happened: what it wrote counts as written
                if transaction is not None:
                    self._end(transaction, committed=committed, started=started)

        setattr(dialect, name, ending)
        self._wrapped.append((dialect, name, original))

    def _wrap_two_phase(self, dialect: Any, name: str, *, committed: bool) -> None:
        original = getattr(dialect, name)

        def ending(connection: Connection, *arguments: Any, **named: Any) -> None:
            transaction = connection.info.pop(_TRANSACTION, None)
            started = self._clock()
            try:
                original(connection, *arguments, **named)
            finally:
                if transaction is not None:
                    self._end(transaction, committed=committed, started=started)

        setattr(dialect, name, ending)
        self._wrapped.append((dialect, name, original))

    def _end(self, transaction: Transaction, *, committed: bool, started: int) -> None:
        self._sink.ended(
            transaction, committed=committed, started=started, ended=self._clock(), context=CURRENT.get()
        )

    def _began(self, connection: Connection) -> None:
        connection.info[_TRANSACTION] = Transaction(next(self._ids), self._clock())

    # statements

    def _executing(
        self,
        connection: Connection,
        _cursor: Any,
        _sql: str,
        _parameters: Any,
        context: Any,
        _many: bool,  # noqa: FBT001 - the signature is SQLAlchemy's
    ) -> None:
        if context is not None:
            setattr(context, _STARTED, self._clock())

    def _executed(
        self,
        connection: Connection,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: Any,
        many: bool,  # noqa: FBT001 - the signature is SQLAlchemy's
    ) -> None:
        self._report(
            connection, sql, parameters, context, many=many, rows=max(0, cursor.rowcount), failed=False
        )

    def _failed(self, error: Any) -> None:
        if (
            error.connection is not None
            and error.statement is not None
            and error.execution_context is not None
        ):
            self._report(
                error.connection,
                error.statement,
                error.parameters,
                error.execution_context,
                many=False,
                rows=0,
                failed=True,
            )

    def _report(
        self,
        connection: Connection,
        sql: str,
        parameters: Any,
        context: Any,
        *,
        many: bool,
        rows: int,
        failed: bool,
    ) -> None:
        ended = self._clock()
        autocommit = connection._is_autocommit_isolation()  # noqa: SLF001 - has no public form
        transaction = None if autocommit else connection.info.get(_TRANSACTION)
        if transaction is None:
            transaction = Transaction(0, ended)
        request = CURRENT.get()
        statement = Statement(
            sql=sql,
            parameters=parameters,
            many=many,
            dialect=connection.dialect.name,
            paramstyle=connection.dialect.paramstyle,
            started=getattr(context, _STARTED, ended),
            ended=ended,
            rows=rows,
            unit_of_work=self._is_unit_of_work(context),
            failed=failed,
            autocommit=transaction.id == 0,
        )
        if statement.unit_of_work:
            transaction.unit_of_work_tables.add(_table_of(context))
        if request is not None:
            request.statements.append((statement, transaction))
        self._sink.executed(statement, transaction, request)
        if transaction.id == 0:
            self._sink.ended(transaction, committed=True, started=ended, ended=ended, context=request)

    def _is_unit_of_work(self, context: Any) -> bool:
        """Whether a flush emitted this SQL for mapped objects; Core run inside a flush is not.

        Mappers keep compiled statements in a cache of their own and pass it with what they execute.
        """
        cache = context.execution_options.get("compiled_cache") if context is not None else None
        if cache is None:
            return False
        if id(cache) not in self._unit_of_work_caches:
            self._unit_of_work_caches.update(id(mapper._compiled_cache) for mapper in _all_mappers())  # noqa: SLF001
        return id(cache) in self._unit_of_work_caches

    # sessions

    def _flushed(self, session: Session, _flush: Any) -> None:
        for mapper, states in _written(session).items():
            connection = session.connection(bind_arguments={"mapper": mapper})
            transaction = connection.info.get(_TRANSACTION) or Transaction(0, self._clock())
            images = images_of_flush(states, connection.dialect)
            request = CURRENT.get()
            self._sink.flushed(images, transaction, request)
            if transaction.id == 0:
                now = self._clock()
                self._sink.ended(transaction, committed=True, started=now, ended=now, context=request)

    # connections that escape

    def _handing_out(self) -> Callable[..., Any]:
        original = self._raw_connection
        watch = self

        def raw_connection(engine: Engine) -> Any:
            connection = original(engine)
            if sys._getframe(1).f_globals.get("__name__", "").startswith("sqlalchemy."):  # noqa: SLF001
                return connection  # SQLAlchemy's own use of it
            request = CURRENT.get()
            if request is not None:
                request.escaped = True
            connection.info[_RAW] = True
            watch._sink.escaped(request)  # noqa: SLF001 - its own class
            return connection

        return raw_connection

    def _returned(self, _dbapi_connection: Any, record: Any) -> None:
        if record.info.pop(_RAW, False):
            self._sink.escaped(CURRENT.get())


def _table_of(context: Any) -> str:
    table = getattr(getattr(getattr(context, "compiled", None), "statement", None), "table", None)
    return "" if table is None else table_name(table.schema, table.name)


def _all_mappers() -> Iterator[Mapper[Any]]:
    from sqlalchemy.orm import mapperlib

    for registry in mapperlib._all_registries():  # noqa: SLF001 - the list of all registries has no public name
        yield from registry.mappers


def _written(session: Session) -> dict[Mapper[Any], list[tuple[str, Any]]]:
    """The objects a flush wrote, by mapper: (`insert`, `update` or `delete`, object)."""
    found: dict[Mapper[Any], list[tuple[str, Any]]] = {}
    groups: Sequence[tuple[str, Any]] = (
        ("insert", session.new),
        ("update", session.dirty),
        ("delete", session.deleted),
    )
    for action, objects in groups:
        for item in objects:
            if action != "update" or session.is_modified(item):
                found.setdefault(item._sa_instance_state.mapper, []).append((action, item))
    return found
