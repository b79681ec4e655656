"""Routes as they are, parameters as they are meant, and reads as they happen."""

import enum
import time

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Cookie, Depends, FastAPI, Header, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.security import APIKeyCookie, APIKeyHeader, OAuth2PasswordBearer
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware

from cachewright.capture.asgi import Watched
from cachewright.capture.routes import walk

bearer = OAuth2PasswordBearer("/login", auto_error=False)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Page(BaseModel):
    skip: int = 0
    take: int = Query(10, alias="limit")


def nested(token: str | None = Depends(bearer), x_lang: str = Header("en")) -> str | None:
    return token


def build() -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/things")

    @router.get("/{thing_id}")
    def thing(
        request: Request,
        thing_id: int,
        colour: Colour = Colour.RED,
        flag: bool = False,
        tags: list[str] = Query(default=[]),
        who: str | None = Depends(nested),
    ):
        return {"seen": request.headers.get("x-shown"), "path": request.url.path}

    app.include_router(router, prefix="/a")
    app.include_router(
        router, prefix="/b", dependencies=[Depends(APIKeyHeader(name="X-Key", auto_error=False))]
    )

    @app.get("/paged")
    def paged(page: Page = Query(), theme: str | None = Cookie(None)):
        return page

    @app.get("/raw")
    async def raw(request: Request, tasks: BackgroundTasks):
        tasks.add_task(lambda: None)
        return {
            "q": request.query_params.get("q"),
            "c": request.cookies.get("c"),
            "url": str(request.url)[:4],
            "client": request.client is not None,
            "headers": len(request.scope["headers"]),
        }

    @app.get("/site")
    def site(request: Request):
        return [request.url.hostname, request.url.netloc]

    @app.get("/site/link")
    def link(request: Request):
        return [request.url.hostname, str(request.url)]

    inner = FastAPI()

    @inner.get("/leaf/{name}", dependencies=[Depends(APIKeyCookie(name="sid", auto_error=False))])
    def leaf(name: str):
        return name

    app.mount("/sub", inner)
    return app


class Observer:
    def __init__(self):
        self.contexts = []

    async def enter(self, context, app, scope, receive, send):
        await app(scope, receive, send)

    async def answering(self, context):
        pass

    def finished(self, context):
        self.contexts.append(context)


@pytest.fixture
async def client_and_observer():
    app = build()
    app.add_middleware(GZipMiddleware)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])

    async def logging(request, call_next):
        request.headers.get("x-request-id")
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=logging)
    observer = Observer()
    watched = Watched(app, observer, clock=time.monotonic_ns)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://t") as client:
        yield client, observer
    watched.close()


def test_templates_methods_and_credentials_of_included_and_mounted_routes():
    routes = {route.template: route for route in walk(build())}

    assert {"/a/things/{thing_id}", "/b/things/{thing_id}", "/paged", "/raw", "/sub/leaf/{name}"} <= set(
        routes
    )
    assert routes["/a/things/{thing_id}"].credentials == ("header:authorization",)
    assert set(routes["/b/things/{thing_id}"].credentials) == {"header:authorization", "header:x-key"}
    assert routes["/sub/leaf/{name}"].credentials == ("cookie:sid",)
    assert routes["/raw"].methods == {"GET"}


def test_parameters_are_read_from_the_declaration():
    params = {
        (p.where, p.name): p
        for r in walk(build())
        if r.template in ("/a/things/{thing_id}", "/paged")
        for p in r.params
    }

    assert params["path", "thing_id"].type == "int"
    assert params["query", "colour"].type == "enum"
    assert params["query", "flag"].type == "bool"
    assert params["query", "tags"].multiple
    assert params["query", "limit"].default == 10
    assert params["query", "skip"].type == "int"
    assert params["header", "x-lang"].default == "en"
    assert params["cookie", "theme"].default is None


@pytest.mark.parametrize(
    ("query", "same"),
    [
        (b"", b"colour=red&flag=false"),
        (b"flag=1", b"flag=yes"),
        (b"flag=true&colour=blue", b"colour=blue&flag=on"),
        (b"colour=red&colour=blue", b"colour=blue"),
        (b"unknown=1", b""),
    ],
)
def test_spellings_of_one_request_have_one_set_of_values(query, same):
    [route] = [r for r in walk(build()) if r.template == "/a/things/{thing_id}"]

    one, other = (route.values({"query_string": q}, {"thing_id": "7"}) for q in (query, same))

    assert one == other


def test_the_path_stays_as_it_is_written_for_an_answer_may_quote_it():
    [route] = [r for r in walk(build()) if r.template == "/a/things/{thing_id}"]

    assert route.values({"query_string": b""}, {"thing_id": "07"})["path.thing_id"] == "07"


@pytest.mark.parametrize("query", [b"tags=a&tags=b", b"tags=b&tags=a", b"flag=maybe", b"colour=blue"])
def test_other_values_stay_other_values(query):
    [route] = [r for r in walk(build()) if r.template == "/a/things/{thing_id}"]

    assert route.values({"query_string": query}, {"thing_id": "7"}) != route.values(
        {"query_string": b""}, {"thing_id": "7"}
    )


async def test_only_reads_of_the_application_count(client_and_observer):
    client, observer = client_and_observer
    await client.get(
        "/a/things/7", headers={"Origin": "http://o", "Accept-Encoding": "gzip", "Cookie": "z=1"}
    )

    [context] = observer.contexts
    assert context.reads == {"header:x-shown"}
    assert context.outer_reads == {"header:x-request-id"}
    assert context.route.template == "/a/things/{thing_id}"
    assert (context.status, context.background) == (200, False)
    assert 0 < context.started < context.entered < context.answered <= context.returned


async def test_raw_reads_are_named(client_and_observer):
    client, observer = client_and_observer
    await client.get("/raw?q=1")

    [context] = observer.contexts
    assert context.reads == {"query:q", "cookie:c", "url", "client", "headers"}
    assert context.background


async def test_mounted_applications_have_doors_of_their_own(client_and_observer):
    client, observer = client_and_observer
    response = await client.get("/sub/leaf/x")

    assert response.json() == "x"
    assert observer.contexts[0].route.template == "/sub/leaf/{name}"


async def test_the_host_of_a_url_is_what_its_header_says_and_the_rest_is_the_whole_url(client_and_observer):
    client, observer = client_and_observer
    assert (await client.get("/site")).json() == ["t", "t"]
    assert observer.contexts[-1].reads == {"header:host"}
    await client.get("/site/link")
    assert observer.contexts[-1].reads == {"header:host", "url"}
