"""Recording a running application: what the eyes report goes into a trace, and the application does not wait.

In the request's own time only references are taken; hashing, masking and writing happen in the writer's
thread.
"""

from __future__ import annotations

import itertools
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from cachewright.capture.context import Clock, RequestContext
from cachewright.capture.events import Escape, RowImage, Statement, Transaction
from cachewright.capture.routes import Route
from cachewright.evidence.anonymise import Anonymiser
from cachewright.evidence.answered import Answered
from cachewright.evidence.events import Asked, Flushed, Ran, Routed, Whole
from cachewright.evidence.hashing import Hasher
from cachewright.evidence.outputs import Files, facts_of
from cachewright.evidence.recording import Recording
from cachewright.evidence.sampling import Sample
from cachewright.evidence.trace import ForeignKey, SchemaSeen, TransactionSeen
from cachewright.evidence.tracefile import create_trace
from cachewright.evidence.tracerows import Record
from cachewright.evidence.tracewriter import Rotation, TraceWriter

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_LONGEST_WAITING = 2_000
#: Sets of parameters of one statement that are kept; a cache looks no further either.
_MOST_SETS = 64
#: Events of one request that wait for its end where a sample is taken.
_MOST_HELD = 1_000
#: Bodies wait in memory only as long as fewer events than this do.
_FEW_WAITING = 256


class Recorder:
    """Watches requests and SQL for one trace: observer of `capture.asgi`, sink of `capture.database`.

    `declared_identity` is what the operator says of users and tenants (`{"user": "claim:sub"}`). `clock`
    gives monotonic nanoseconds, `wall` seconds since the epoch. Several processes of one `recording` write beside
    each other, each as a `worker` of its own (from 1; 0 where there is one). `volatile` are members of JSON
    answers that say nothing, `sample` is the share of the keys to keep, `rotate` the bytes after which another
    file is begun. `limit` bounds the events that wait to be written. Raises `EvidenceError` where the trace
    cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        application: str,
        declared_identity: Mapping[str, str],
        clock: Clock,
        recording: Recording | None = None,
        *,
        wall: Callable[[], float] = time.time,
        worker: int = 0,
        volatile: Iterable[str] = (),
        sample: float = 1.0,
        rotate: int | None = None,
        overwrite: bool = False,
        limit: int = 20_000,
    ) -> None:
        recording = recording or Recording.begin()
        now = wall()
        zero = now - clock() / 1e9
        self._hasher = Hasher(recording.key)
        self._sampling = sample < 1
        self._files = Files(Path(path), worker, recording.id)
        self._numbers = itertools.count(1)
        self._open: dict[RequestContext, _Open] = {}
        self._schema = SchemaSeen()
        self._anonymiser = Anonymiser(
            self._hasher,
            wall_at_zero=zero,
            declared=frozenset(_identity_names(declared_identity.values())),
            worker=worker,
            volatile=frozenset(volatile),
            sample=Sample(sample, self._hasher, _principals(declared_identity)) if self._sampling else None,
        )
        self._meta = facts_of(application, declared_identity, recording, now=now, zero=zero, sample=sample)
        self._writer = TraceWriter(
            self._files.path,
            self._meta | self._files.meta,
            self._anonymiser.records,
            periodic=self._news,
            rotation=None if rotate is None else Rotation(rotate, self._next_file),
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
        route = context.route
        wanted = route is not None and self._anonymiser.wants_body(route, scope["method"])
        answer = opened.answer = Answered(self._hasher, keeps_body=wanted)
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
            answer = Answered(self._hasher)
            answer.started(context.status, context.response_headers)
            answer.stream.update(str(context.size).encode())
        asked = Asked(
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
            reads=frozenset(context.reads) | answer.varied,
            outer_reads=frozenset(context.outer_reads),
            set_cookie=answer.set_cookie,
            cache_control=answer.cache_control,
            streamed=answer.bodies > 1,
            background=context.background,
            escaped=context.escaped,
            head=answer.head,
            body=answer.body if self._writer.waiting < _FEW_WAITING else None,
        )
        size = _kept_alive(asked.scope) + len(asked.body or b"")
        self._writer.put(Whole(asked, opened.held, opened.kept) if self._sampling else asked, size)

    def _hand_over(self, event: Ran | Flushed | TransactionSeen, context: RequestContext | None) -> None:
        """What belongs to a request waits for its end where a sample is taken."""
        if self._sampling and context is not None and not context.returned:
            opened = self._opened(context)
            if len(opened.held) < _MOST_HELD:
                opened.held.append(event)
                return
            opened.kept = True
        text = len(event.sql) if isinstance(event, Ran) else 0  # a short one is most likely kept anyhow
        self._writer.put(event, text if text > _LONGEST_WAITING else 0)

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
        first, more, many = _sets(statement.parameters, many=statement.many)
        if statement.unit_of_work:  # its rows come as images
            more = ()
        self._hand_over(
            Ran(
                request=self._number(context),
                transaction=transaction.id,
                sql=statement.sql,
                dialect=statement.dialect,
                paramstyle=statement.paramstyle,
                parameters=self._shortened(first),
                more=[self._shortened(parameters) for parameters in more],
                many=many,
                started=statement.started,
                ended=statement.ended,
                rows=statement.rows,
                unit_of_work=statement.unit_of_work,
                failed=statement.failed,
            ),
            context,
        )

    def flushed(
        self, images: Sequence[RowImage], transaction: Transaction, context: RequestContext | None
    ) -> None:
        """A unit of work was written, not yet committed."""
        if images and transaction.id:
            self._hand_over(Flushed(transaction.id, images), context)

    def committing(self, transaction: Transaction, context: RequestContext | None) -> None:
        """See `SqlSink`."""

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
            seen = TransactionSeen(
                transaction.id, owner, transaction.began, started, ended, committed=committed
            )
            self._hand_over(seen, context)

    def escaped(self, context: RequestContext | None, escape: Escape) -> None:
        """A raw driver connection was handed out, or came back."""
        del escape
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

    def _next_file(self) -> sqlite3.Connection:
        """The file after one that is full; what rows refer to is written into it anew."""
        following = self._files.following()
        connection = create_trace(following.path, self._meta | following.meta)
        self._files = following
        self._anonymiser.begin_again()
        self._schema = SchemaSeen()
        return connection

    def _news(self) -> Iterable[Record]:
        return (*self._tables(), *self._anonymiser.news())

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
                ForeignKey(
                    key.table, key.columns, key.target, key.target_columns, key.on_delete, key.on_update
                )
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

    __slots__ = ("answer", "held", "kept", "number", "scope")

    def __init__(self, number: int) -> None:
        self.number = number
        self.held: list[Ran | Flushed | TransactionSeen] = []
        self.kept = False
        self.answer: Answered | None = None
        self.scope: dict[str, Any] | None = None


def _kept_alive(scope: Mapping[str, Any]) -> int:
    """The bytes that a client chose and that wait with its request."""
    headers = sum([len(name) + len(value) for name, value in scope.get("headers", ())])
    return headers + len(scope.get("query_string", b"")) + len(scope.get("path", ""))


def _sets(parameters: Any, *, many: bool) -> tuple[Any, Sequence[Any], int]:
    """The first set of parameters, the others unless there are too many, and how many sets there are.

    A batch of `insertmanyvalues` is said to be many too, but is one statement with one set of parameters.
    """
    if not parameters:
        return (), (), 1
    if many and isinstance(parameters, list):
        count = len(parameters)
        return parameters[0], parameters[1:] if count <= _MOST_SETS else (), count
    return parameters, (), 1


def _principals(declared_identity: Mapping[str, str]) -> Iterable[str]:
    """Names of the values that say whose entries an entry is: the tenant's, else the user's."""
    for who in ("tenant", "user"):
        source = declared_identity.get(who, "")
        if source:
            where, _, name = source.partition(":")
            yield f"{where}.{name.lower() if where == 'header' else name}" if name else where
    yield "claim.sub"


def _identity_names(sources: Iterable[str]) -> Iterable[str]:
    """The headers and cookies among the sources of an identity, by the names of key patterns."""
    for source in sources:
        where, _, name = source.partition(":")
        if where == "header" and name:
            yield f"header.{name.lower()}"
        elif where == "cookie" and name:
            yield f"cookie.{name}"
