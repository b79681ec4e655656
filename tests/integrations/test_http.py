"""HTTP as it is: what is left alone, what is never stored, and what must not be mixed up."""

import asyncio
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from tests.integrations.driving import Driver, driven, get, specification, uninstall
from tests.integrations.shop import Note, Shop
from tests.versions import QUERY_MODELS

from cachewright.errors import ApplicationError
from cachewright.integrations.edge import UNCACHED
from cachewright.integrations.install import Installed, install
from cachewright.integrations.parts import OUTCOMES
from cachewright.integrations.surroundings import Surroundings

NOTE = get("/notes/{note_id}", "shop_notes(id={note_id})", key="note:{note_id}")


@pytest.fixture
def app(shop):
    @shop.app.get("/notes/{note_id}")
    def read_note(note_id: int, session: Session = shop.given):
        found = session.scalar(select(Note.title).where(Note.id == note_id))
        if found is None:
            raise HTTPException(404, "no such note")
        return found

    return shop.app


def title(shop: Shop, number: int = 1):
    with Session(shop.engine) as session:
        return session.scalar(select(Note.title).where(Note.id == number))


# requests


async def test_only_plain_gets_are_answered(app):
    async with driven(app, specification(NOTE)) as driver:
        assert await driver.caches("/notes/1")
        count = len(driver.outcomes)
        assert (await driver.send("HEAD", "/notes/1")).status_code == 405
        assert (await driver.send("OPTIONS", "/notes/1")).status_code == 405
        assert (await driver.get("/notes/1", headers={"Range": "bytes=0-3"})).status_code == 200
        assert (await driver.send("GET", "/notes/1", content=b"{}")).status_code == 200
        assert (await driver.get("/notes/1/")).status_code == 307
        assert (await driver.get("//notes/1")).status_code == 404
        assert len(driver.outcomes) == count, "none of these was looked up"
        assert await driver.hit("/notes/1", headers={"Cache-Control": "no-cache"})
        assert await driver.hit("/notes/%31")
        assert not await driver.hit("/notes/01")


async def test_an_unsafe_method_is_never_cached_even_where_a_specification_says_so(shop):
    @shop.app.post("/note")
    def read(session: Session = shop.given):
        return title(shop)

    spec = specification({**get("/note", "shop_notes", key="note"), "endpoint": "POST /note"})
    async with driven(shop.app, spec) as driver:
        for _ in range(3):
            assert (await driver.send("POST", "/note")).status_code == 200
        assert driver.outcomes == []


async def test_head_of_a_starlette_route_stays_with_the_application(shop):
    async def note(request):
        return JSONResponse(title(shop))

    async with driven(
        Starlette(routes=[Route("/note", note)]), specification(get("/note", "shop_notes"))
    ) as driver:
        for _ in range(2):
            answer = await driver.send("HEAD", "/note")
            assert (answer.status_code, answer.headers["content-length"]) == (200, "8")
        assert await driver.caches("/note")


class Page(BaseModel):
    page: int = 1
    size: int = Field(10, validation_alias=AliasChoices("size", "per_page"))
    sort: str = Field("id", alias="order_by")


class Strict(BaseModel):
    model_config = {"extra": "forbid"}
    page: int = 1


class Open(BaseModel):
    model_config = {"extra": "allow"}
    page: int = 1


def padded(value):
    return f"0x{value}"


QUERIES = [
    "",
    "limit=10",
    "limit=010",
    "limit=+10",
    "limit=%2B10",
    "limit=10&limit=11",
    "limit=11&limit=10",
    "limit=" + "9" * 5000,
    "limit=١",  # noqa: RUF001
    "limit=x",
    "limit=",
    "flag=1",
    "flag=true",
    "flag=fal%C5%BFe",
    "flag=maybe",
    "tags=a&tags=b",
    "tags=b&tags=a",
    "tags=a,b",
    "tags=",
    "unknown=1",
    "page=2",
    "size=3",
    "per_page=3",
    "per_page=4&size=5",
    "sort=x",
    "order_by=x",
    "wire=1",
    "renamed=1",
    "text=7",
    "text=07",
    "q=%00",
    "q=a%2Fb",
    "q=%25",
    "q=%C3%A9",
    "q=e%CC%81",
    "q=%n",
    "q=%ff",
]


@pytest.mark.requirement("#57")
async def test_spellings_of_a_query_are_told_apart_as_the_application_does(shop):
    @shop.app.get("/echo")
    def echo(
        session: Session = shop.given,
        limit: int = 10,
        flag: bool = False,
        tags: Annotated[list[str] | None, Query()] = None,
        renamed: Annotated[int, Query(validation_alias="wire")] = 0,
        text: Annotated[str, BeforeValidator(padded)] = "",
        q: str | None = None,
    ):
        return [limit, flag, tags, renamed, text, q, session.scalar(select(Note.id).where(Note.id == 1))]

    key = "echo:{limit}:{flag}:{tags}:{query.wire}:{renamed}:{text}:{q}"  # before 0.124 it goes by its plain name
    async with driven(shop.app, specification(get("/echo", "shop_notes(id=1)", key=key))) as driver:
        await drive(driver, "/echo")
        assert await driver.hit("/echo?unknown=2")
        assert await driver.hit("/echo?q=a&limit=10&flag=no") is False
        assert await driver.hit("/echo?flag=false&q=a")


async def drive(driver, path: str) -> None:
    """Ask with every query, each time twice: the answers are those of the application."""
    assert await driver.caches(path), driver.refused
    for _ in range(2):
        for query in QUERIES:
            await driver.hit(f"{path}?{query}")


@pytest.mark.skipif(not QUERY_MODELS, reason="this FastAPI has no models of query parameters")
async def test_spellings_of_a_query_that_fills_a_model_are_told_apart(shop):
    @shop.app.get("/paged")
    def paged(page: Annotated[Page, Query()], session: Session = shop.given):
        return [page.model_dump(), session.scalar(select(Note.id).where(Note.id == 1))]

    @shop.app.get("/strict")
    def strict(page: Annotated[Strict, Query()], session: Session = shop.given):
        return [page.model_dump(), session.scalar(select(Note.id).where(Note.id == 1))]

    @shop.app.get("/open")
    def opened(page: Annotated[Open, Query()], session: Session = shop.given):
        return [page.model_dump(), session.scalar(select(Note.id).where(Note.id == 1))]

    spec = specification(
        get("/paged", "shop_notes(id=1)", key="paged:{page}:{size}:{query.per_page}:{query.order_by}"),
        get("/strict", "shop_notes(id=1)", key="strict:{page}"),
        get("/open", "shop_notes(id=1)", key="open:{page}"),
    )
    async with driven(shop.app, spec) as driver:
        for path in ("/paged", "/strict", "/open"):
            await drive(driver, path)
        assert await driver.hit("/strict?page=01")


async def test_a_parameter_that_the_key_lacks_is_not_kept(shop):
    @shop.app.get("/wrong")
    def wrong(
        session: Session = shop.given,
        size: Annotated[int, Query(validation_alias=AliasChoices("size", "per_page"))] = 3,
        lang: Annotated[str, Header(alias="x_lang")] = "en",
    ):
        return [size, lang, session.scalar(select(Note.id).where(Note.id == 1))]

    for key in (
        "wrong:{size}",
        "wrong:{size}:{query.per_page}",
        "wrong:{size}:{query.per_page}:{header.x-lang}",
    ):
        async with driven(shop.app, specification(get("/wrong", "shop_notes", key=key))) as driver:
            assert not await driver.caches("/wrong")
            assert driver.refused == ("unkeyed_read",)
    whole = get("/wrong", "shop_notes", key="wrong:{size}:{query.per_page}:{header.x_lang}")
    async with driven(shop.app, specification(whole)) as driver:
        assert await driver.caches("/wrong", headers={"x_lang": "de"})
        assert not await driver.hit("/wrong", headers={"x_lang": "fr"})
        assert not await driver.hit("/wrong?per_page=4", headers={"x_lang": "de"})


async def test_another_host_scheme_or_root_path_is_another_service(shop):
    @shop.app.get("/link")
    def link(request: Request, session: Session = shop.given):
        return [str(request.base_url), session.scalar(select(Note.id).where(Note.id == 1))]

    spec = specification(get("/link", "shop_notes"))
    async with driven(shop.app, spec) as driver:
        for host in ("one.example", "two.example", "one.example:81"):
            assert not await driver.hit("/link", headers={"Host": host})
        for host in ("one.example", "two.example", "one.example:81"):
            assert await driver.hit("/link", headers={"Host": host})
        assert not await driver.hit("https://test/link", headers={"Host": "one.example"})


async def test_a_request_with_a_condition_is_left_to_an_application_that_gives_validators(shop):
    @shop.app.get("/tagged")
    def tagged(request: Request, session: Session = shop.given):
        tag = f'"{title(shop)}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(title(shop), headers={"ETag": tag})

    spec = specification(get("/tagged", "shop_notes"))
    async with driven(shop.app, spec) as driver:
        assert await driver.caches("/tagged")
        tag = (await driver.get("/tagged")).headers["etag"]
        assert not await driver.hit("/tagged", headers={"If-None-Match": tag})
        assert (await driver.get("/tagged", headers={"If-None-Match": tag})).status_code == 304
        assert not await driver.hit("/tagged", headers={"If-None-Match": '"old"'})
        assert await driver.hit("/tagged")


# answers


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("status", lambda: Response("x", status_code=201)),
        ("status", lambda: RedirectResponse("/elsewhere")),
        ("set_cookie", lambda: Response("x", headers={"Set-Cookie": "a=b"})),
        ("cache_control", lambda: Response("x", headers={"Cache-Control": "max-age=3, No-Store"})),
        ("cache_control", lambda: Response("x", headers={"Cache-Control": "private"})),
        ("too_large", lambda: Response("x" * 1_000_001)),
        ("stream", lambda: StreamingResponse(iter(["x", "y"]))),
        ("stream", lambda: StreamingResponse(iter(["x"]))),
    ],
)
@pytest.mark.requirement("#406", "C69")
async def test_what_is_never_stored(shop, reason, answer):
    @shop.app.get("/odd")
    def odd(session: Session = shop.given):
        title(shop)
        return answer()

    async with driven(shop.app, specification(get("/odd", "shop_notes"))) as driver:
        for _ in range(2):
            assert not await driver.hit("/odd")
            assert reason in driver.refused


@pytest.mark.requirement("C69")
async def test_errors_are_the_applications_and_never_stored(shop, app):
    @shop.app.get("/fails")
    def fails(session: Session = shop.given):
        title(shop)
        raise RuntimeError("no")

    spec = specification(NOTE, get("/fails", "shop_notes", key="fails"))
    async with driven(app, spec) as driver:
        for _ in range(2):
            assert not await driver.hit("/notes/999")
            assert driver.refused == ("status",)
            assert not await driver.hit("/notes/x")
            assert (await driver.get("/fails")).status_code == 500
        assert (await driver.get("/notes/999")).status_code == 404
        assert (await driver.get("/notes/x")).status_code == 422
        assert await driver.caches("/notes/1")


@pytest.mark.requirement("C69")
async def test_streams_leave_piece_by_piece(shop):
    """The start is not held back until the first piece, nor any piece until the next one."""
    go = asyncio.Event()

    @shop.app.get("/events")
    async def events():
        async def pieces():
            await go.wait()
            yield "data: 1\n\n"
            yield "data: 2\n\n"

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async with driven(shop.app, specification(get("/events", "shop_notes"))) as driver:
        messages: asyncio.Queue = asyncio.Queue()
        outcomes = []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/events", "raw_path": b"/events", "query_string": b"", "root_path": "", "headers": [(b"host", b"t")],
            "client": ("c", 1), "server": ("t", 80), "state": {}, OUTCOMES: outcomes,
        }  # fmt: skip

        async def receive():
            await asyncio.sleep(60)

        running = asyncio.create_task(driver.installed(scope, receive, messages.put))
        async with asyncio.timeout(5):
            assert (await messages.get())["type"] == "http.response.start"
            assert messages.empty()
            go.set()
            assert (await messages.get())["body"] == b"data: 1\n\n"
            await running
        assert [str(reason) for reason in outcomes[0].refused] == ["stream"]


@pytest.mark.requirement("#40")
async def test_a_response_keeps_its_headers_and_bytes(shop):
    @shop.app.get("/rich")
    def rich(session: Session = shop.given):
        title(shop)
        answer = PlainTextResponse("é\x00", headers={"X-Twice": "1", "Link": "</a>; rel=x"})
        answer.raw_headers.append((b"x-twice", b"2"))
        answer.raw_headers.append((b"X-Case", b"\xe9"))
        return answer

    @shop.app.get("/nothing")
    def nothing(session: Session = shop.given):
        title(shop)

    @shop.app.get("/empty")
    def empty(session: Session = shop.given):
        title(shop)
        return Response(b"")

    targets = [get(path, "shop_notes") for path in ("/rich", "/nothing", "/empty")]
    async with driven(shop.app, specification(*targets)) as driver:
        for path in ("/rich", "/nothing", "/empty"):
            assert await driver.caches(path)
        assert (await driver.get("/rich")).headers.get_list("x-twice") == ["1", "2"]


# middleware, shapes of applications


async def test_middleware_runs_on_a_hit_as_on_a_miss(shop):
    @shop.app.get("/long")
    def long(session: Session = shop.given):
        return title(shop) * 200

    async def dispatch(request, call_next):
        answer = await call_next(request)
        answer.headers["x-method"] = request.method
        return answer

    shop.app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    shop.app.add_middleware(GZipMiddleware, minimum_size=100)
    shop.app.add_middleware(CORSMiddleware, allow_origins=["https://a.example", "https://b.example"])
    async with driven(shop.app, specification(get("/long", "shop_notes"))) as driver:
        assert await driver.caches("/long")
        for origin in ("https://a.example", "https://b.example", "https://c.example"):
            for encoding in ("gzip", "identity", "br"):
                assert await driver.hit("/long", headers={"Origin": origin, "Accept-Encoding": encoding})
        answer = await driver.get("/long", headers={"Origin": "https://b.example", "Accept-Encoding": "gzip"})
        assert answer.headers["access-control-allow-origin"] == "https://b.example"
        assert answer.headers["content-encoding"] == "gzip"


async def test_routers_mounts_and_inclusions_are_routes_of_their_own(shop):
    router = APIRouter()

    @router.get("/note")
    def note(request: Request, session: Session = shop.given):
        return [request.url.path, title(shop)]

    class Custom(APIRoute):
        def get_route_handler(self):
            original = super().get_route_handler()

            async def handler(request):
                answer = await original(request)
                answer.headers["x-custom"] = "yes"
                return answer

            return handler

    custom = APIRouter(route_class=Custom)
    custom.add_api_route("/custom", note)
    outer = APIRouter(prefix="/outer")
    outer.include_router(router, prefix="/deep")
    shop.app.include_router(router, prefix="/one")
    shop.app.include_router(router, prefix="/two")
    shop.app.include_router(outer)
    shop.app.include_router(custom)
    inner = FastAPI()
    inner.include_router(router)
    shop.app.mount("/mounted/{place}", inner)
    paths = ["/one/note", "/two/note", "/outer/deep/note", "/custom", "/mounted/a/note", "/mounted/b/note"]
    spec = specification(
        *(get(path, "shop_notes") for path in paths[:4]),
        get("/mounted/{place}/note", "shop_notes", key="mounted:{place}"),
    )
    async with driven(shop.app, spec) as driver:
        for path in paths:
            assert await driver.caches(path), path
            assert (await driver.get(path)).json()[0] == path
        assert (await driver.get("/custom")).headers["x-custom"] == "yes"
    short = get("/mounted/{place}/note", "shop_notes", key="mounted")
    async with driven(shop.app, specification(short)) as driver:
        assert not await driver.caches("/mounted/a/note")
        assert driver.refused == ("unkeyed_read",)


async def test_a_plain_starlette_application(shop):
    async def note(request):
        return JSONResponse(await asyncio.to_thread(title, shop, int(request.path_params["number"])))

    routes = [Route("/notes/{number:int}", note), Mount("/in", routes=[Route("/{number}", note)])]
    spec = specification(
        get("/notes/{number}", "shop_notes(id={number})", key="note:{number}"),
        get("/in/{number}", "shop_notes(id={number})", key="in"),
    )
    async with driven(Starlette(routes=routes), spec) as driver:
        assert await driver.caches("/notes/1")
        assert not await driver.hit("/notes/2")
        assert not await driver.caches("/in/1")
        assert "unkeyed_read" in driver.refused


async def test_an_application_inside_of_wrappers(app):
    class Wrapper:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            async def marked(message):
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-wrapped", b"yes")]}
                await send(message)

            await self.app({**scope}, receive, marked)

    async with driven(Wrapper(Wrapper(app)), specification(NOTE)) as driver:
        assert await driver.caches("/notes/1")
        assert (await driver.get("/notes/1")).headers.get_list("x-wrapped") == ["yes", "yes"]


async def test_overridden_dependencies_are_the_ones_that_count(shop):
    def placeholder() -> str:
        return "nobody"

    def shade(shade: str = "plain") -> str:
        return shade

    @shop.app.get("/shaded")
    def shaded(given: str = Depends(placeholder), session: Session = shop.given):
        return [given, title(shop)]

    spec = specification(get("/shaded", "shop_notes"))
    shop.app.dependency_overrides[placeholder] = shade
    async with driven(shop.app, spec) as driver:
        for _ in range(2):
            assert not await driver.hit("/shaded?shade=red")
            assert not await driver.hit("/shaded?shade=green")
        assert driver.refused == ("unkeyed_read",)
    shop.app.dependency_overrides.clear()
    async with driven(shop.app, spec) as driver:
        assert await driver.caches("/shaded")
        shop.app.dependency_overrides[placeholder] = shade
        assert not await driver.hit("/shaded?shade=red")
        shop.app.dependency_overrides.clear()
        assert await driver.hit("/shaded?shade=red")


async def test_an_application_that_calls_itself_does_not_mix_up_its_requests(shop, app):
    @app.get("/sized")
    def sized(size: int = 1, session: Session = shop.given):
        return title(shop) * size

    async def ask(url):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get(url)).json()

    @app.post("/batch")
    async def batch(urls: list[str]):
        return [await ask(url) for url in urls]

    @app.get("/digest")
    async def digest():
        return await ask("/notes/1")

    spec = specification(
        NOTE, get("/sized", "shop_notes", key="sized:{size}"), get("/digest", "shop_users", key="digest")
    )
    async with driven(app, spec) as driver:
        answer = await driver.send("POST", "/batch?size=9", json=["/sized", "/sized?size=2", "/notes/2"])
        assert answer.json() == ["note 1", "note 1note 1", "note 2"]
        assert not await driver.hit("/sized")
        assert await driver.hit("/sized")
        assert not await driver.caches("/digest"), "what it read inside is not what it depends on"

    with pytest.raises(ApplicationError, match="started already"):
        install(app, spec)
    app.middleware_stack = None
    install(app, spec)
    for _ in range(2):
        assert await ask("/digest") == "note 1"
    with Session(shop.engine) as session:
        session.get_one(Note, 1).title = "new"
        session.commit()
    assert await ask("/digest") == "new"
    await uninstall(app)


async def test_lifespan_websockets_and_routes_registered_at_start_up(shop):
    events = []

    @asynccontextmanager
    async def lifespan(app):
        events.append("up")
        app.get("/late")(lambda: title(shop))
        yield {"name": "state"}
        events.append("down")

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text() + websocket.state.name)
        await websocket.close()

    installed = Installed(app, specification(get("/late", "shop_notes")), Surroundings(workers=1))
    said, sent, state = asyncio.Queue(), asyncio.Queue(), {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    living = asyncio.create_task(installed(scope, said.get, sent.put))
    said.put_nowait({"type": "lifespan.startup"})
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    driver = Driver(installed)
    assert await driver.caches("/late")

    heard = asyncio.Queue()
    for message in ({"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello "}):
        said.put_nowait(message)
    socket = {
        "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": "/ws",
        "raw_path": b"/ws", "query_string": b"", "root_path": "", "headers": [], "subprotocols": [],
        "client": ("c", 1), "server": ("t", 80), "state": dict(state), "extensions": {},
    }  # fmt: skip
    await installed(socket, said.get, heard.put)
    assert [heard.get_nowait().get("text") for _ in range(2)] == [None, "hello state"]

    said.put_nowait({"type": "lifespan.shutdown"})
    await living
    assert (await sent.get())["type"] == "lifespan.shutdown.complete"
    assert events == ["up", "down"]
    await driver.aclose()
    assert sum(installed.figures()["targets"]["GET /late"]["hits"].values()) == 1


async def test_the_form_that_is_installed_in_place(app, shop):
    install(app, specification(NOTE))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert [(await client.get("/notes/1")).json() for _ in range(3)] == ["note 1"] * 3
        with Session(shop.engine) as session:
            session.get_one(Note, 1).title = "new"
            session.commit()
        assert (await client.get("/notes/1")).json() == "new"
    await uninstall(app)


# concurrency


async def test_a_client_that_leaves_in_the_middle_of_a_load_fails_nobody(shop):
    """Followers of a load whose request is cancelled get their answer."""
    entered, go, loads = asyncio.Event(), asyncio.Event(), 0

    @shop.app.get("/slow")
    async def slow():
        nonlocal loads
        loads += 1
        entered.set()
        await go.wait()
        return await asyncio.to_thread(title, shop)

    async with driven(shop.app, specification(get("/slow", "shop_notes"))) as driver:
        leader = asyncio.create_task(driver.get("/slow"))
        await entered.wait()
        followers = [asyncio.create_task(driver.get("/slow")) for _ in range(5)]
        await asyncio.sleep(0)
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        go.set()
        answers = await asyncio.gather(*followers)
        assert {answer.json() for answer in answers} == {"note 1"}
        assert loads <= 2
        assert await driver.hit("/slow")


async def test_a_write_during_a_load_is_not_overtaken_by_it(shop):
    entered, go = asyncio.Event(), asyncio.Event()

    @shop.app.get("/slow")
    async def slow():
        found = await asyncio.to_thread(title, shop)
        entered.set()
        await go.wait()
        return found

    async with driven(shop.app, specification(get("/slow", "shop_notes"))) as driver:
        reading = asyncio.create_task(driver.get("/slow"))
        await entered.wait()
        with Session(shop.engine) as session:
            session.get_one(Note, 1).title = "new"
            session.commit()
        newer = asyncio.create_task(driver.get("/slow"))
        await asyncio.sleep(0.01)
        go.set()
        assert (await reading).json() == "note 1"
        assert (await newer).json() == "new"
        assert (await driver.get("/slow")).json() == "new"
        assert await driver.hit("/slow")


async def test_a_scope_can_ask_for_no_cache_at_all(app):
    async with driven(app, specification(NOTE)) as driver:
        assert await driver.caches("/notes/1")
        outcomes = []

        async def plain(scope, receive, send):
            await driver.installed({**scope, UNCACHED: True, OUTCOMES: outcomes}, receive, send)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=plain), base_url="http://test"
        ) as client:
            assert (await client.get("/notes/1")).json() == "note 1"
        assert outcomes == []
