"""Listening to every SQLAlchemy engine and session of the process: statements, row images, real commits.

SQLAlchemy's own `commit` event fires before the driver commits, so the dialect's `do_commit` is wrapped; a write
counts as committed only once that returned.
"""

from __future__ import annotations

import itertools
import logging
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.orm import Mapper, Session, UOWTransaction
from sqlalchemy.pool import Pool

from cachewright.capture.context import Clock, current_request
from cachewright.capture.databases import Databases
from cachewright.capture.drivers import Lent, in_transaction
from cachewright.capture.events import Statement, Transaction
from cachewright.capture.images import images_of_flush
from cachewright.capture.sink import SqlSink
from cachewright.sql.names import table_name

_log = logging.getLogger("cachewright")

_STARTED = "_cachewright_started"
_ENDS = re.compile(r"\s*(?:commit|end|rollback|abort|release)\b", re.IGNORECASE)
_GIVES_UP = re.compile(r"\s*(?:rollback|abort)\b", re.IGNORECASE)
_DEFINES = re.compile(r"\s*(?:create|alter|drop|do|call)\b", re.IGNORECASE)
_OURS = frozenset({__name__, Databases.__module__})
#: The place of `recover` among the arguments of the dialect's two-phase endings, after the connection.
_RECOVER = 2


class DatabaseWatch:
    """The listeners on behalf of one sink; `close` removes them.

    With `learns` the catalogue of each database is read, on connections that are not in use yet. Only engines of
    these `dialects` are listened to, each of which belongs to one engine; None for all.
    """

    def __init__(
        self,
        sink: SqlSink,
        clock: Clock,
        *,
        learns: bool = False,
        dialects: Collection[Dialect] | None = None,
    ) -> None:
        self._sink = sink
        self._only = dialects
        self._clock = clock
        self._databases = Databases(clock) if learns else None
        self._ids = itertools.count(1)
        self._transaction = f"cachewright.transaction.{id(self)}"
        self._raw = f"cachewright.raw.{id(self)}"
        self._connections = f"cachewright.connections.{id(self)}"
        self._unit_of_work_caches: set[int] = set()
        self._open = False
        self._wrapped: list[tuple[Any, str, Any, Any]] = []
        self._dialects: set[int] = set()
        listeners: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
            (Engine, "engine_connect", self._connected),
            (Engine, "begin", self._began),
            (Engine, "before_cursor_execute", self._executing),
            (Engine, "after_cursor_execute", self._executed),
            (Engine, "handle_error", self._failed),
            (Session, "after_begin", self._joined),
            (Session, "before_flush", self._flushing),
            (Session, "after_flush", self._flushed),
            (Pool, "checkin", self._returned),
            (Pool, "detach", self._returned),
            (Pool, "invalidate", self._lost),
            (Pool, "close", self._lost),
        )
        self._listeners = tuple(
            (target, name, self._safely(listener)) for target, name, listener in listeners
        )

    def _safely(self, listener: Callable[..., Any]) -> Callable[..., Any]:
        """`listener`, which cannot make the application's SQL fail: where it does not follow, nobody knows."""

        def safe(*arguments: Any) -> None:
            try:
                listener(*arguments)
            except Exception:  # noqa: BLE001 - what is seen of SQL must not change it
                _log.exception("what SQL did could not be followed")
                self._sink.escaped(current_request(), "committed")

        return safe

    def open(self) -> DatabaseWatch:
        """Start listening."""
        for target, name, listener in self._listeners:
            event.listen(target, name, listener)
        self._open = True
        self._replace(Engine, "raw_connection", self._handing_out(Engine.raw_connection))
        self._driver_of = vars(Connection)["connection"].__get__
        self._replace(Connection, "connection", self._lending_out(vars(Connection)["connection"]))
        return self

    def close(self) -> None:
        """Stop listening, once; engines and dialects are as they were, unless another watch has wrapped them since."""
        if not self._open:
            return
        self._open = False
        for target, name, listener in self._listeners:
            event.remove(target, name, listener)
        for owner, name, original, replacement in reversed(self._wrapped):
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)
        self._wrapped.clear()
        self._dialects.clear()

    def _replace(self, owner: Any, name: str, replacement: Any) -> None:
        self._wrapped.append((owner, name, getattr(owner, name), replacement))
        setattr(owner, name, replacement)

    # engines

    def _connected(self, connection: Connection, *_: Any) -> None:
        dialect = connection.dialect
        if not self._wanted(dialect):
            return
        if self._databases is not None:
            self._databases.learn(dialect, lambda: self._driver_of(connection))
        if id(dialect) in self._dialects:
            return
        self._dialects.add(id(dialect))
        for name, committed in (("do_commit", True), ("do_rollback", False)):
            self._wrap(dialect, name, committed=committed)
        for name, committed in (("do_commit_twophase", True), ("do_rollback_twophase", False)):
            self._wrap_two_phase(dialect, name, committed=committed)

    def _wanted(self, dialect: Dialect) -> bool:
        return self._only is None or any(dialect is wanted for wanted in self._only)

    def _wrap(self, dialect: Any, name: str, *, committed: bool) -> None:
        original = getattr(dialect, name)

        def ending(dbapi_connection: Any) -> None:
            with self._ending(dbapi_connection.info, committed=committed):
                original(dbapi_connection)

        self._replace(dialect, name, ending)

    def _wrap_two_phase(self, dialect: Any, name: str, *, committed: bool) -> None:
        original = getattr(dialect, name)

        def ending(connection: Connection, *arguments: Any, **named: Any) -> None:
            recovered = named.get("recover") or (len(arguments) > _RECOVER and arguments[_RECOVER])
            with self._ending(connection.info, committed=committed):
                original(connection, *arguments, **named)
            if recovered and self._open:  # nobody here knows what it wrote
                self._sink.escaped(current_request(), "committed")

        self._replace(dialect, name, ending)

    @contextmanager
    def _ending(self, info: dict[Any, Any], *, committed: bool) -> Iterator[None]:
        """The end of a connection's transaction; a commit that raised may still have happened, so it counts."""
        transaction = info.pop(self._transaction, None) if self._open else None
        if committed and transaction is not None:
            self._sink.committing(transaction, current_request())
        started = self._clock()
        try:
            yield
        except BaseException:
            if transaction is not None:
                transaction.doubtful = committed
            raise
        finally:
            if transaction is not None:
                self._end(transaction, committed=committed, started=started)
            if committed and self._open and info.get(self._raw):
                self._sink.escaped(current_request(), "committed")

    def _end(self, transaction: Transaction, *, committed: bool, started: int) -> None:
        if transaction.defined and self._databases is not None:
            self._databases.forget()
        self._sink.ended(
            transaction, committed=committed, started=started, ended=self._clock(), context=current_request()
        )

    def _began(self, connection: Connection) -> None:
        connection.info[self._transaction] = self._new(connection, self._clock())

    def _new(self, connection: Connection, began: int, *, autocommit: bool = False) -> Transaction:
        database = None if self._databases is None else self._databases.of(connection.dialect)
        blind = self._databases is not None and self._databases.is_blind(connection.dialect)
        return Transaction(0 if autocommit else next(self._ids), began, database=database, blind=blind)

    def _transaction_of(self, connection: Connection) -> Transaction:
        """The connection's transaction; one that began before anybody listened counts as begun at the start."""
        transaction: Transaction | None = connection.info.get(self._transaction)
        if transaction is None:
            self._connected(connection)
            transaction = connection.info[self._transaction] = self._new(connection, 0)
        return transaction

    # statements

    def _executing(
        self,
        _connection: Connection,
        _cursor: Any,
        _sql: str,
        _parameters: Any,
        context: Any,
        _many: bool,  # noqa: FBT001 - the signature is SQLAlchemy's
    ) -> None:
        if context is not None:
            setattr(context, _STARTED, self._clock())

    def _executed(  # noqa: PLR0917 - the signature is SQLAlchemy's
        self,
        connection: Connection,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: Any,
        many: bool,  # noqa: FBT001 - the signature is SQLAlchemy's
    ) -> None:
        # rows inserted in one batch come as one flat set, although SQLAlchemy calls them many
        several = many and isinstance(parameters, list)
        self._report(
            connection, sql, parameters, context, many=several, rows=max(0, cursor.rowcount), failed=False
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
        if not self._wanted(connection.dialect):
            return
        ended = self._clock()
        inside = in_transaction(self._driver_of(connection).dbapi_connection, sql)
        if inside is None:
            inside = not connection._is_autocommit_isolation()  # noqa: SLF001 - has no public form
        over = None if inside else connection.info.get(self._transaction)
        if inside or (over is not None and _ENDS.match(sql)):
            transaction = self._transaction_of(connection)
        else:
            transaction = self._new(connection, ended, autocommit=True)
        request = current_request()
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
            transaction.mapped.add(_table_of(context))
        if request is not None:
            request.ran(statement, transaction)
        if _DEFINES.match(sql):
            transaction.defined = True
            if self._databases is not None:
                self._databases.note_temporary(sql)
        self._sink.executed(statement, transaction, request)
        if transaction.id == 0:
            transaction.doubtful = failed
            self._end(transaction, committed=True, started=ended)
        elif not inside:  # in plain text
            connection.info[self._transaction] = self._new(connection, ended)
            self._end(transaction, committed=_GIVES_UP.match(sql) is None, started=ended)

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

    def _joined(self, session: Session, _transaction: Any, connection: Connection) -> None:
        session.info.setdefault(self._connections, WeakSet()).add(connection)

    def _flushing(self, session: Session, _flush: Any, _objects: Any) -> None:
        """What the session's connections wrote for mapped objects before this flush was a bulk operation."""
        self._settle(session, {})

    def _flushed(self, session: Session, flush: Any) -> None:
        """Images go to the transaction that wrote their table, where the session has several."""
        written = _written(flush, session)
        transactions = {
            connection: self._transaction_of(connection)
            for connection in tuple(session.info.get(self._connections, ()))
            if not connection.closed and self._wanted(connection.dialect)
        }
        imaged: dict[int, set[str]] = {}
        for connection, transaction in transactions.items():
            others = {
                table for other in transactions.values() if other is not transaction for table in other.mapped
            }
            images = [
                image
                for image in images_of_flush(written, connection.dialect)
                if image.table in transaction.mapped or image.table not in others
            ]
            imaged.setdefault(id(transaction), set()).update(image.table for image in images)
            self._sink.flushed(images, transaction, current_request())
        self._settle(session, imaged)

    def _settle(self, session: Session, imaged: Mapping[int, Collection[str]]) -> None:
        for connection in tuple(session.info.get(self._connections, ())):
            transaction = None if connection.closed else connection.info.get(self._transaction)
            if transaction is not None:
                transaction.settle(imaged.get(id(transaction), ()))

    # connections that escape

    def _handing_out(self, original: Callable[[Engine], Any]) -> Callable[[Engine], Any]:
        def raw_connection(engine: Engine) -> Any:
            connection = original(engine)
            escapes = self._wanted(engine.dialect) and self._escaping(connection)
            return Lent(connection, self._committed) if escapes else connection

        return raw_connection

    def _lending_out(self, original: property) -> property:
        def connection(of: Connection) -> Any:
            connection = original.__get__(of)
            if self._wanted(of.dialect):
                self._escaping(connection)
            return connection

        return property(connection)

    def _escaping(self, connection: Any) -> bool:
        """Whether the pool's connection leaves our sight: SQLAlchemy does not ask for its own use."""
        if not self._open or _asked_by_sqlalchemy():
            return False
        if self._raw not in connection.info:
            connection.info[self._raw] = True
            request = current_request()
            if request is not None:
                request.escaped = True
            self._sink.escaped(request, "out")
        return True

    def _committed(self) -> None:
        self._sink.escaped(current_request(), "committed")

    def _returned(self, _dbapi_connection: Any, record: Any) -> None:
        if record is not None and record.info.pop(self._raw, False):
            self._sink.escaped(current_request(), "back")

    def _lost(self, _dbapi_connection: Any, record: Any, *_: Any) -> None:
        """A connection that died took its transaction with it; one whose end was reported has none left."""
        self._returned(_dbapi_connection, record)
        transaction = None if record is None else record.info.pop(self._transaction, None)
        if transaction is not None:
            self._end(transaction, committed=False, started=self._clock())


def _asked_by_sqlalchemy() -> bool:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the interpreter's documented way to the caller
    while frame is not None and frame.f_globals.get("__name__") in _OURS:
        frame = frame.f_back  # ends at the bottom of a greenlet where an async facade was asked
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("sqlalchemy.")


def _table_of(context: Any) -> str:
    table = getattr(getattr(getattr(context, "compiled", None), "statement", None), "table", None)
    return "" if table is None else table_name(table.schema, table.name)


def _all_mappers() -> Iterator[Mapper[Any]]:
    from sqlalchemy.orm import mapperlib

    for registry in mapperlib._all_registries():  # noqa: SLF001 - the list of all registries has no public name
        yield from registry.mappers


def _written(flush: UOWTransaction, session: Session) -> list[tuple[str, Any]]:
    """The objects a flush wrote: (`insert`, `update` or `delete`, object).

    The flush's own list, for orphans that a relationship deletes stand in none of the session's. A deletion that is
    only listed became the UPDATE of a row that was added again: its old values are those of the object deleted.
    """
    found: list[tuple[str, Any]] = []
    for state, (is_delete, list_only) in flush.states.items():
        item = state.obj()
        if item is None or (list_only and not is_delete):
            continue
        action = "delete" if is_delete else "insert" if state.key is None else "update"
        if action != "update" or session.is_modified(item):
            found.append((action, item))
    return found
