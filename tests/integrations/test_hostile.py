"""Backends that read their requests by side doors, and requests made to be mistaken for others."""

import json
from typing import Annotated, Any

import pytest
from fastapi import Body, Cookie, FastAPI, Header, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note

RED, BLUE = {"X-Shade": "red", "Cookie": "shade=red"}, {"X-Shade": "blue"}


def noted(shop) -> str:
    with Session(shop.engine) as session:
        return session.scalar(select(Note.title).where(Note.id == 1))


WAYS = {
    "whether there is a query": lambda request: bool(request.query_params),
    "how many query parameters": lambda request: len(request.query_params),
    "the query compared": lambda request: request.query_params == {"shade": "red"},
    "the query as it is": lambda request: request.query_params,
    "the query written out": lambda request: str(request.query_params),
    "whether there are cookies": lambda request: bool(request.cookies),
    "how many cookies": lambda request: len(request.cookies),
    "the cookies compared": lambda request: request.cookies == {"shade": "red"},
    "the names of the cookies": lambda request: "shade" in request.cookies.keys(),  # noqa: SIM118
    "the cookies as they are": lambda request: request.cookies,
    "a copy of the cookies": lambda request: request.cookies.copy(),
    "cookies joined with others": lambda request: request.cookies | {"a": "b"},
    "the cookies as text": lambda request: json.dumps(request.cookies),
    "the headers as they are": lambda request: dict.fromkeys(request.headers.values()),
    "how many headers": lambda request: len(request.headers),
    "headers that can be changed": lambda request: request.headers.mutablecopy().get("x-shade"),
    "the headers compared": lambda request: request.headers == HTTPConnection(request.scope).headers,
    "the raw path": lambda request: request.scope["raw_path"].decode(),
    "the query string": lambda request: request.scope.get("query_string", b"").decode(),
    "a copy of the scope": lambda request: dict(request.scope)["query_string"].decode(),
    "the scope spread": lambda request: {**request.scope}["query_string"].decode(),
    "the items of the scope": lambda request: [v.decode() for k, v in request.scope.items() if k == "query_string"],
    "another request of the same scope": lambda request: Request(request.scope).headers.get("x-shade"),
    "the cookies of another request": lambda request: Request(request.scope).cookies.get("shade"),
    "another url": lambda request: str(request.url.replace(path="/x")),
    "an item of the request": lambda request: request["query_string"].decode(),
    "the headers of the request as an item": lambda request: dict.fromkeys(k.decode() for k, _ in request["headers"]),
    "the url as it is": lambda request: vars(request.url)["_url"],
}  # fmt: skip


@pytest.mark.parametrize("form", ["fastapi", "starlette"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_whatever_way_a_handler_reads_its_request_nobody_gets_what_another_was_given(shop, way, form):
    def answer(request: Request) -> Any:
        return [way(request), noted(shop)]

    if form == "fastapi":
        app = FastAPI()
        app.get("/shaded", response_model=None)(answer)
    else:

        async def endpoint(request):
            found = way(request)
            return JSONResponse([found if not hasattr(found, "items") else dict(found), noted(shop)])

        app = Starlette(routes=[Route("/shaded", endpoint)])
    async with driven(app, specification(get("/shaded", "shop_notes"))) as driver:
        for _ in range(2):
            await driver.hit("/shaded?shade=red", headers=RED)
            await driver.hit("/shaded", headers=BLUE)
            await driver.hit("/%73haded", headers=BLUE)
        assert "unkeyed_read" in driver.refused, driver.outcomes[-1]


async def test_a_certificate_is_who_sent_it(shop):
    class Certified:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            name = dict(scope["headers"])[b"x-name"].decode()
            await self.app({**scope, "extensions": {"tls": {"client_cert_name": name}}}, receive, send)

    @shop.app.get("/mine")
    def mine(request: Request):
        return [request.scope["extensions"]["tls"]["client_cert_name"], noted(shop)]

    spec = specification(get("/mine", "shop_notes", ignored_reads=["headers", "header:x-name"]))
    shop.app.add_middleware(Certified)
    async with driven(shop.app, spec) as driver:
        for name in ("CN=1", "CN=2", "CN=1"):
            assert not await driver.hit("/mine", headers={"X-Name": name})
        assert driver.refused == ("unkeyed_read",)


class FromHeader(AuthenticationBackend):
    async def authenticate(self, conn):
        name = conn.headers.get("x-name")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


@requires("authenticated", status_code=403)
async def only_known(request):
    return JSONResponse("for those who are known")


async def the_user(request):
    return JSONResponse(request.user.display_name)


async def the_user_in_the_scope(request):
    return JSONResponse(request["user"].display_name)


@pytest.mark.parametrize("endpoint", [only_known, the_user, the_user_in_the_scope])
async def test_what_starlette_authenticates_counts_as_read(endpoint):
    app = Starlette(
        routes=[Route("/mine", endpoint)],
        middleware=[Middleware(AuthenticationMiddleware, backend=FromHeader())],
    )
    target = get("/mine", max_staleness_seconds=60, ignored_reads=["header:x-name"])
    async with driven(app, specification(target)) as driver:
        for name in ("one", "two"):
            assert not await driver.hit("/mine", headers={"X-Name": name})
            assert "unkeyed_read" in driver.refused
        assert not await driver.hit("/mine")
        assert driver.refused, "an older Starlette refuses outside of routes, where only the status is known"


async def test_a_security_scheme_that_is_called_by_hand_counts_as_read(shop):
    scheme = HTTPBearer()

    @shop.app.get("/mine")
    async def mine(request: Request):
        return [(await scheme(request)).credentials, noted(shop)]

    async with driven(shop.app, specification(get("/mine", "shop_notes"))) as driver:
        for name in ("one", "two", "one"):
            assert not await driver.hit("/mine", headers={"Authorization": f"Bearer {name}"})
            assert driver.refused == ("unkeyed_read",)


async def test_where_a_middleware_that_copies_the_scope_looks_counts(shop):
    class Near:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                scope = dict(scope)
                scope["state"] = {
                    "near": next(iter(scope["client"])) == "10.0.0.1",
                    "query": scope["query_string"].decode(),
                }
            await self.app(scope, receive, send)

    @shop.app.get("/mine")
    def mine(request: Request):
        return [request.state.near, request.state.query, noted(shop)]

    shop.app.add_middleware(Near)
    async with driven(shop.app, specification(get("/mine", "shop_notes"))) as driver:
        assert not await driver.caches("/mine")
        assert driver.refused == ("unkeyed_read",)
        assert {"client", "url"} <= set(driver.outcomes[-1].unkeyed)


# requests made to be mistaken for others


async def test_a_header_that_comes_twice_is_not_the_one_that_holds_both_values(shop):
    @shop.app.get("/greeting")
    def greeting(request: Request, lang: Annotated[str, Header(alias="X-Lang")] = "-"):
        return [request.headers.get("x-lang"), lang, noted(shop)]

    spec = specification(get("/greeting", "shop_notes", key="greeting:lang={header.x-lang}"))
    async with driven(shop.app, spec) as driver:
        for headers in (
            [("X-Lang", "de"), ("X-Lang", "en")],
            [("X-Lang", "de, en")],
            [("X-Lang", "en"), ("X-Lang", "de")],
            [("X-Lang", "")],
            [],
            [("X-Lang", ""), ("X-Lang", "")],
        ):
            assert not await driver.hit("/greeting", headers=headers)
        assert await driver.hit("/greeting", headers=[("X-Lang", "de, en")])


async def test_cookies_of_several_headers_are_read_as_the_application_reads_them(shop):
    @shop.app.get("/greeting")
    def greeting(lang: Annotated[str | None, Cookie()] = None):
        return [lang, noted(shop)]

    spec = specification(get("/greeting", "shop_notes", key="greeting:lang={cookie.lang}"))
    async with driven(shop.app, spec) as driver:
        for cookies in (
            ("lang=de", "lang=en"),
            ("lang=en",),
            ("lang=de",),
            ("lang=en", "lang=de"),
            ("lang=",),
            (),
        ):
            await driver.hit("/greeting", headers=[("Cookie", value) for value in cookies])


@pytest.mark.parametrize("kind", ["int", "float", "uuid", "path"])
async def test_a_path_that_is_spelt_otherwise_is_not_the_same(shop, kind):
    async def echo(request):
        return JSONResponse([request.url.path, repr(request.path_params["x"]), noted(shop)])

    spellings = {
        "int": ["7", "07", "007"],
        "float": ["1.5", "1.50", "01.5"],
        "uuid": ["5f3c1bd6-9d5f-4f1e-8a26-d3f2f8d6a6a1", "5F3C1BD6-9D5F-4F1E-8A26-D3F2F8D6A6A1",
                 "5f3c1bd69d5f4f1e8a26d3f2f8d6a6a1"],
        "path": ["a/b", "a%2Fb", "a//b", "a/./b", "a%252Fb", "é", "e%CC%81", "a b", "a%20b", "a+b", "a;v=1", "a.css"],
    }  # fmt: skip
    app = Starlette(routes=[Mount("/in", routes=[Route("/echo/{x:" + kind + "}", echo)])])
    spec = specification(get("/in/echo/{x:" + kind + "}", "shop_notes", key="echo:{x}"))
    async with driven(app, spec) as driver:
        for _ in range(2):
            for spelling in spellings[kind]:
                await driver.hit(f"/in/echo/{spelling}")
        assert await driver.hit(f"/in/echo/{spellings[kind][0]}")


async def test_two_targets_with_one_key_do_not_mix(shop):
    app = Starlette()

    async def read(request):
        return JSONResponse([request.method, noted(shop)])

    async def other(request):
        return JSONResponse("another")

    app.router.routes += [Route("/a", read, methods=["GET"]), Route("/b", other), Route("/c/{x}", other)]
    targets = [
        {**get("/a", "shop_notes", key="same"), "endpoint": f"{method} /a", "name": method}
        for method in ("GET", "HEAD")
    ]
    spec = specification(*targets, get("/b", "shop_notes", key="same"))
    async with driven(app, spec) as driver:
        for _ in range(2):
            head = await driver.send("HEAD", "/a")
            assert head.headers["content-length"] == str(len((await driver.get("/a")).content) + 1)
            await driver.hit("/a")
            await driver.hit("/b")


async def test_a_body_without_a_length_is_seen_where_it_is_read(shop):
    """HTTP/2 frames a body without a header that announces it."""

    @shop.app.get("/search")
    def search(wanted: Annotated[dict[str, str] | None, Body()] = None):
        return [wanted, noted(shop)]

    async with driven(shop.app, specification(get("/search", "shop_notes"))) as driver:
        installed = driver.installed

        async def ask(body: bytes):
            scope = {
                "type": "http", "http_version": "2", "method": "GET", "path": "/search", "raw_path": b"/search",
                "query_string": b"", "root_path": "", "scheme": "http", "client": ("10.0.0.1", 1),
                "server": ("test", 80), "headers": [(b"host", b"test"), (b"content-type", b"application/json")],
            }  # fmt: skip
            sent, messages = [], iter([{"type": "http.request", "body": body, "more_body": False}])

            async def receive():
                return next(messages)

            async def send(message):
                sent.append(message)

            await installed(scope, receive, send)
            return json.loads(sent[1]["body"])[0]

        for _ in range(2):
            assert await ask(b"") is None
            assert await ask(b'{"a": "b"}') == {"a": "b"}


async def test_no_host_is_not_an_empty_one(shop):
    @shop.app.get("/here")
    def here(request: Request):
        return [str(request.base_url), noted(shop)]

    async with driven(shop.app, specification(get("/here", "shop_notes"))) as driver:
        installed = driver.installed
        found = []
        for _ in range(2):
            for headers in ([], [(b"host", b"")], [(b"host", b"evil.example")], [(b"host", b"test")]):
                sent = []

                async def send(message, sent=sent):
                    sent.append(message)

                await installed(
                    {
                        "type": "http", "http_version": "1.0", "method": "GET", "path": "/here", "raw_path": b"/here",
                        "query_string": b"", "root_path": "", "scheme": "http", "client": ("10.0.0.1", 1),
                        "server": ("127.0.0.1", 80), "headers": headers,
                    },
                    None,
                    send,
                )  # fmt: skip
                found.append(json.loads(sent[1]["body"])[0])
        assert found[:4] == found[4:]
        assert found[:4] == ["http://127.0.0.1/", *found[1:2], "http://evil.example/", "http://test/"]


class Localised(APIRoute):
    """A route that changes its responses by what it reads of the request."""

    def get_route_handler(self):
        original = super().get_route_handler()

        async def handle(request: Request):
            answer = await original(request)
            answer.headers["content-language"] = request.headers.get("accept-language", "en")
            return answer

        return handle


async def test_a_route_of_a_class_of_its_own_reads_for_its_handler(shop):
    @shop.app.get("/plain")
    def plain(session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == 1))

    shop.app.router.route_class = Localised
    shop.app.get("/localised")(plain)
    spec = specification(get("/localised", "shop_notes"), get("/plain", "shop_notes"))
    async with driven(shop.app, spec) as driver:
        for language in ("de", "fr", "de"):
            assert not await driver.hit("/localised", headers={"Accept-Language": language})
            assert driver.refused == ("unkeyed_read",)
        assert await driver.caches("/plain")


async def test_what_the_application_says_to_vary_by_must_be_in_the_key(shop):
    async def answer(request):
        vary = request.query_params.get("vary")
        return JSONResponse(noted(shop), headers={"Vary": vary})

    app = Starlette(routes=[Route("/varied", answer)])
    spec = specification(
        get("/varied", "shop_notes", key="varied:vary={query.vary}:lang={header.accept-language}")
    )
    async with driven(app, spec) as driver:
        for vary in ("*", "Accept", "accept-language, x-other", "Accept-Language, *"):
            assert not await driver.caches("/varied", params={"vary": vary})
            assert driver.refused == ("unkeyed_read",), vary
        assert await driver.caches(
            "/varied", params={"vary": "Accept-Language"}, headers={"Accept-Language": "de"}
        )
        assert not await driver.hit(
            "/varied", params={"vary": "Accept-Language"}, headers={"Accept-Language": "fr"}
        )


async def test_a_header_or_cookie_that_may_be_a_secret_stands_in_no_key_as_it_is(shop, valkey_url):
    @shop.app.get("/stock")
    def stock(
        x_office: Annotated[str | None, Header()] = None,
        accept_language: Annotated[str | None, Header()] = None,
        door: Annotated[str | None, Cookie()] = None,
    ):
        return [x_office == "open sesame", accept_language, door == "knock", noted(shop)]

    key = "stock:{header.x-office}:lang={header.accept-language}:{cookie.door}"
    spec = specification(get("/stock", "shop_notes", key=key, scope="credential"))
    told = {"X-Office": "open sesame", "Accept-Language": "de", "Cookie": "door=knock"}
    async with driven(shop.app, spec, redis_url=valkey_url) as driver:
        for headers in (told, {**told, "X-Office": "another"}, {**told, "X-Office": ""}, {}):
            assert not await driver.hit("/stock", headers=headers)
        assert await driver.hit("/stock", headers=told)
        async with Redis.from_url(valkey_url) as client:
            names = [name async for name in client.scan_iter(match=f"{spec.spec.namespace}:*")]
            stored = [*names, *[await client.get(name) or b"" for name in names]]
    kept = [name.decode() for name in names if b":stock:" in name]
    assert len(kept) == 4
    assert not any(secret in text for text in stored for secret in (b"sesame", b"knock"))
    assert sum("lang=de" in name for name in kept) == 3


async def test_a_path_that_is_no_text_is_answered_as_without_a_cache(shop):
    """Some servers decode what is no UTF-8 to surrogates."""

    @shop.app.get("/files/{name}")
    def file(name: str) -> str:
        return "found"

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message.get("status", message.get("body")))

    sent: list[Any] = []
    scope = {"type": "http", "method": "GET", "path": "/files/\udcff", "headers": [(b"host", b"test")]}
    async with driven(shop.app, specification(get("/files/{name}", key="file:{name}"))) as driver:
        for _ in range(3):
            await driver.installed({**scope, "query_string": b"", "scheme": "http"}, receive, send)
    assert sent == [200, b'"found"'] * 3
