"""A recorder fed by hand: requests and statements as capture would lead them through."""

import base64
import json
import time

from cachewright.capture.context import RequestContext
from cachewright.capture.events import Statement
from cachewright.capture.params import Param
from cachewright.capture.routes import Route
from cachewright.evidence.recorder import Recorder
from cachewright.evidence.tracereader import read_trace

HOLDER = object()
LIST = Route(
    methods=frozenset({"GET"}),
    template="/api/items/{item_id}",
    endpoint="shop.list_items",
    params=(
        Param("item_id", "path", "int", required=True),
        Param("sort", "query", "str", required=False, default="new"),
        Param("page", "query", "int", required=False, default=1),
        Param("open", "query", "bool", required=False, default=None),
        Param("tag", "query", "str", required=False, multiple=True),
        Param("accept-language", "header", "str", required=False, default="en"),
    ),
    credentials=("header:authorization",),
    holder=HOLDER,
)


def make(path, identity=None, **named):
    return Recorder(
        path, "shop:app", identity or {}, time.monotonic_ns, wall=lambda: 1_700_000_000.0, **named
    )


def scope_of(path="/api/items/7", query=b"", headers=(), method="GET"):
    headers = [(b"host", b"shop.example"), *headers]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": headers,
        "root_path": "",
    }


async def ask(
    recorder,
    *,
    route=LIST,
    item="7",
    reads=(),
    outer=(),
    answer=(),
    during=lambda context: None,
    status=200,
    kind=b"text/plain",
    **request,
):
    """One request as `capture.asgi` would lead it through; `answer` are the route's messages after the start."""
    scope = scope_of(**request)
    context = RequestContext(started=time.monotonic_ns(), scope=scope)
    context.outer_reads.update(outer)
    if route is not None:
        context.route, context.path_params, context.entered = route, {"item_id": item}, time.monotonic_ns()

        async def app(_scope, _receive, send):
            context.reads.update(reads)
            during(context)
            await send(
                {
                    "type": "http.response.start",
                    "status": status,
                    "headers": [(b"content-type", kind)],
                }
            )
            for message in answer or [{"type": "http.response.body", "body": b"hello"}]:
                await send(message)

        async def send(message):
            context.status = message.get("status", context.status)
            context.size += len(message.get("body", b""))

        await recorder.enter(context, app, scope, None, send)
    else:
        context.status = status
        during(context)
    context.answered = context.returned = time.monotonic_ns()
    recorder.finished(context)
    return context


def statement(sql="SELECT * FROM items WHERE id = ?", parameters=(7,), **named):
    now = time.monotonic_ns()
    fields = {
        "many": False,
        "dialect": "sqlite",
        "paramstyle": "qmark",
        "started": now,
        "ended": now + 5,
        "rows": 1,
    }
    flags = {"unit_of_work": False, "failed": False, "autocommit": False}
    return Statement(sql=sql, parameters=parameters, **{**fields, **flags, **named})


def trace_of(recorder, path):
    recorder.close()
    return read_trace(path)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def jwt(**claims):
    return jwt_of(json.dumps(claims))


def jwt_of(payload):
    head, body = (
        base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode() for text in ('{"alg":"none"}', payload)
    )
    return f"{head}.{body}.c2ln"
