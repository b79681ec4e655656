"""The three forms of the interceptor: at the door, and inside, behind the route's own security."""

import asyncio
from typing import Annotated

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Request,
    Response,
)
from fastapi.routing import APIRoute
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note, User

import cachewright

SESSIONS = {"s1": 1, "s1b": 1, "s2": 2, "s3": 3}
MINE = "shop_notes(user_id={user_id})"


def interceptor(kind: str, *endpoints: str, **extra) -> dict:
    return {"cache_interceptor": [{"name": "I", "type": kind, "endpoints": list(endpoints), **extra}]}


def by_dependency(kind: str = "middleware", *targets, function: str = "built.current_user.id"):
    return specification(
        *targets,
        identity={"user": f"dependency:{__name__}.{function}"},
        implementation=interceptor(kind),
    )


class Notes:
    """A backend that knows its users by opaque sessions."""

    def __init__(self, shop):
        self.app, self.called, self.asked = FastAPI(), 0, 0
        self.engine = shop.engine
        given = shop.given

        def built():
            def current_user(session: Annotated[str | None, Cookie()] = None, database: Session = given):
                self.asked += 1
                if session not in SESSIONS:
                    raise HTTPException(401)
                found = database.get(User, SESSIONS[session])
                if found is None:
                    raise HTTPException(403)
                return found

            return current_user

        self.current_user = built()
        self.current_user.__qualname__ = "built.current_user"
        self.given = given

    def titles(self, user: int, session: Session):
        self.called += 1
        return session.scalars(select(Note.title).where(Note.user_id == user)).all()


@pytest.fixture
def notes(shop):
    return Notes(shop)


def cookie(session: str) -> dict[str, str]:
    return {"Cookie": f"session={session}"}


USER = "shop_users(id={user_id})"


@pytest.mark.parametrize("sort", ["sync", "async"])
@pytest.mark.parametrize("kind", ["middleware", "dependency", "decorator"])
async def test_who_asks_is_what_a_dependency_returns(notes, kind, sort):
    if sort == "sync":

        @notes.app.get("/mine")
        def mine(user: User = Depends(notes.current_user), session: Session = notes.given):
            return notes.titles(user.id, session)

    else:

        @notes.app.get("/mine")
        async def mine(user: User = Depends(notes.current_user), session: Session = notes.given):
            return notes.titles(user.id, session)

    target = get("/mine", MINE, USER, key="user:{user_id}:mine", scope="user")
    async with driven(notes.app, by_dependency(kind, target)) as driver:
        await driver.hit("/mine", headers=cookie("s1"))  # nobody knows this session yet
        assert await driver.caches("/mine", headers=cookie("s1"))
        before = notes.called
        answer = await driver.get("/mine", headers=cookie("s1"))
        assert driver.outcomes[-1].hit
        assert notes.called == before
        assert await driver.hit("/mine", headers=cookie("s1b")), "another session of the same user"
        for other in ("s2", "s3"):
            assert not await driver.hit("/mine", headers=cookie(other))
            assert (await driver.get("/mine", headers=cookie(other))).json() != answer.json()
        assert (await driver.get("/mine", headers=cookie("forged"))).status_code == 401
        assert (await driver.get("/mine")).status_code == 401


async def test_a_session_that_changes_hands_gets_what_its_new_owner_may_have(notes, monkeypatch):
    @notes.app.get("/mine")
    def mine(user: User = Depends(notes.current_user), session: Session = notes.given):
        return notes.titles(user.id, session)

    target = get("/mine", MINE, USER, key="user:{user_id}:mine", scope="user")
    async with driven(notes.app, by_dependency("middleware", target)) as driver:
        await driver.hit("/mine", headers=cookie("s1"))
        assert await driver.caches("/mine", headers=cookie("s1"))
        assert await driver.caches("/mine", headers=cookie("s1"))
        monkeypatch.setitem(SESSIONS, "s1", 2)
        assert not await driver.hit("/mine", headers=cookie("s1"))
        monkeypatch.delitem(SESSIONS, "s1")
        assert (await driver.get("/mine", headers=cookie("s1"))).status_code == 401


@pytest.mark.parametrize("principal", [None, True, False, "", 1.5, [1], {"id": None}])
async def test_what_names_nobody_is_no_principal(notes, principal):
    def built():
        def who():
            return principal

        return who

    who = built()
    who.__qualname__ = "built.who"

    @notes.app.get("/mine")
    def mine(request: Request, _=Depends(who), session: Session = notes.given):
        return notes.titles(1, session)

    for function in ("built.who", "built.who.id"):
        spec = by_dependency(
            "dependency", get("/mine", MINE, key="user:{user_id}:mine", scope="user"), function=function
        )
        async with driven(notes.app, spec) as driver:
            for _ in range(3):
                assert not await driver.hit("/mine", headers=cookie("s1"))
            assert driver.outcomes == []


async def test_a_cookie_that_says_nothing_of_who_asks_is_not_accounted_for_by_the_principal(notes):
    @notes.app.get("/mine")
    def mine(
        theme: Annotated[str | None, Cookie()] = None,
        user: User = Depends(notes.current_user),
        session: Session = notes.given,
    ):
        return [theme, *notes.titles(user.id, session)]

    @notes.app.get("/read")
    def read(request: Request, user: User = Depends(notes.current_user), session: Session = notes.given):
        return [request.cookies.get("theme"), *notes.titles(user.id, session)]

    targets = [
        get(path, MINE, USER, key=f"user:{{user_id}}:{path[1:]}", scope="user") for path in ("/mine", "/read")
    ]
    async with driven(notes.app, by_dependency("dependency", *targets)) as driver:
        for path in ("/mine", "/read"):
            for theme in ("dark", "light", "dark", "light"):
                assert not await driver.hit(path, headers={"Cookie": f"session=s1; theme={theme}"})
            assert driver.refused == ("unkeyed_read",)
            assert driver.outcomes[-1].unkeyed == ("cookie:theme",)


async def test_overridden_dependencies_say_who_asks(notes):
    @notes.app.get("/mine")
    def mine(user: User = Depends(notes.current_user), session: Session = notes.given):
        return notes.titles(user.id, session)

    def another(x_who: Annotated[int, Header()]):
        return User(id=x_who, name="made up")

    notes.app.dependency_overrides[notes.current_user] = another
    target = get("/mine", MINE, key="user:{user_id}:mine", scope="user")
    async with driven(notes.app, by_dependency("dependency", target)) as driver:
        assert await driver.caches("/mine", headers={"X-Who": "1"})
        assert not await driver.hit("/mine", headers={"X-Who": "2"})
        assert await driver.hit("/mine", headers={"X-Who": "1"})


@pytest.mark.requirement("#316", "#317")
async def test_a_route_may_name_its_target_in_either_form_beside_others_at_the_door(notes):
    app = notes.app

    @app.get("/door")
    def door(session: Session = notes.given):
        return notes.titles(1, session)

    @app.get("/depends", dependencies=[Depends(cachewright.cached_response("one"))])
    def depends(session: Session = notes.given):
        return notes.titles(1, session)

    @app.get("/decorated")
    @cachewright.cached("two")
    async def decorated(session: Session = notes.given):
        return notes.titles(1, session)

    @app.get("/decorated-too")
    @cachewright.cached("GET /three")
    def decorated_too(session: Session = notes.given):
        return notes.titles(1, session)

    @app.get("/unknown")
    @cachewright.cached("nothing of that name")
    def unknown(session: Session = notes.given):
        return notes.titles(1, session)

    spec = specification(
        get("/door", "shop_notes"),
        get("/depends", "shop_notes", name="one"),
        get("/decorated", "shop_notes", name="two"),
        get("/three", "shop_notes"),
    )
    async with driven(app, spec) as driver:
        for path in ("/door", "/depends", "/decorated", "/decorated-too"):
            assert await driver.caches(path), path
            before = notes.called
            assert (await driver.get(path)).status_code == 200
            assert notes.called == before, path
        assert not await driver.caches("/unknown")
    for path in ("/depends", "/decorated", "/decorated-too"):  # nothing is installed any more
        async with driven(app, specification()) as driver:
            assert (await driver.get(path)).status_code == 200


async def test_a_router_under_two_prefixes_has_entries_of_its_own_under_each(notes):
    """What a route is included with is part of its answers: here their class, and who may have them."""
    router = APIRouter()

    @router.get("/titles", response_model=None)
    def titles(session: Session = notes.given):
        return notes.titles(1, session)[0]

    @router.get("/named", dependencies=[Depends(cachewright.cached_response("named"))])
    @router.get("/decorated")
    @cachewright.cached("decorated")
    def named(session: Session = notes.given):
        return notes.titles(1, session)[0]

    notes.app.include_router(router, prefix="/v1")
    notes.app.include_router(router, prefix="/v2", default_response_class=PlainTextResponse)
    known = [Depends(notes.current_user)]
    notes.app.include_router(router, prefix="/v3", default_response_class=HTMLResponse, dependencies=known)
    reads = "shop_notes", "shop_users"
    spec = specification(
        get("/v1/titles", *reads),
        get("/v2/titles", *reads),
        get("/v1/named", *reads, name="named", ignored_reads=[]),
        get("/decorated", *reads, name="decorated"),
    )
    async with driven(notes.app, spec) as driver:
        for path in ("/titles", "/named", "/decorated"):
            for _ in range(3):
                for prefix in ("/v1", "/v2", "/v3"):
                    for headers in (cookie("s1"), cookie("nobody")):
                        await driver.hit(f"{prefix}{path}", headers=headers)
        for path in ("/v1/titles", "/v2/titles", "/v1/named", "/v2/named", "/v1/decorated", "/v2/decorated"):
            assert await driver.hit(path), path
        assert (await driver.get("/v3/named", headers=cookie("nobody"))).status_code == 401


async def test_a_dependency_that_is_not_remembered_says_who_asks_only_if_it_is_asked_once(notes, caplog):
    def anew():
        return Depends(notes.current_user, use_cache=False)

    @notes.app.get("/once")
    def once(user: User = anew(), session: Session = notes.given):
        return notes.titles(user.id, session)

    @notes.app.get("/twice")
    def twice(first: User = Depends(notes.current_user), user: User = anew(), session: Session = notes.given):
        return [first.id, notes.titles(user.id, session)]

    targets = [
        get(path, MINE, USER, key=f"user:{{user_id}}:{path[1:]}", scope="user")
        for path in ("/once", "/twice")
    ]
    async with driven(notes.app, by_dependency("dependency", *targets)) as driver:
        for session in ("s1", "s2"):
            await driver.hit("/once", headers=cookie(session))
            assert await driver.caches("/once", headers=cookie(session))
            assert not await driver.caches("/twice", headers=cookie(session))
        assert "GET /twice is not cached" in caplog.text


class Known(AuthenticationBackend):
    async def authenticate(self, conn):
        name = conn.headers.get("authorization")
        return (AuthCredentials([name]), SimpleUser(name)) if name else None


@pytest.mark.parametrize("sort", ["sync", "async", "class"])
async def test_starlette_runs_what_stands_above_the_decorator(shop, sort):
    from starlette.endpoints import HTTPEndpoint

    def title() -> str:
        with Session(shop.engine) as session:
            return session.scalar(select(Note.title).where(Note.id == 1))

    if sort == "sync":

        @requires("known", status_code=403)
        @cachewright.cached("note")
        def endpoint(request):
            return JSONResponse(title())

    elif sort == "async":

        @requires("known", status_code=403)
        @cachewright.cached("note")
        async def endpoint(request):
            return JSONResponse(title())

    else:

        class endpoint(HTTPEndpoint):  # noqa: N801
            @cachewright.cached("note")
            async def get(self, request):
                if "known" not in request.auth.scopes:
                    raise HTTPException(403)
                return JSONResponse(title())

    app = Starlette(
        routes=[Route("/note", endpoint)],
        middleware=[Middleware(AuthenticationMiddleware, backend=Known())],
    )
    target = get("/note", "shop_notes", name="note", scope="credential")
    async with driven(app, specification(target)) as driver:
        known = {"Authorization": "known"}
        assert await driver.caches("/note", headers=known)
        assert not await driver.hit("/note", headers={"Authorization": "unknown"})
        assert (await driver.get("/note", headers={"Authorization": "unknown"})).status_code == 403
        assert await driver.hit("/note", headers=known)


async def test_what_dependencies_do_they_do_on_a_hit_too(notes):
    done = []

    def counting(response: Response, tasks: BackgroundTasks):
        tasks.add_task(done.append, "task")
        response.headers["X-Kind"] = "plain"

    def opened():
        done.append("opened")
        yield
        done.append("closed")

    @notes.app.get("/note", dependencies=[Depends(opened)])
    def note(session: Session = notes.given):
        return notes.titles(1, session)

    @notes.app.get("/counted", dependencies=[Depends(counting)])
    def counted(session: Session = notes.given):
        return notes.titles(1, session)

    spec = specification(
        get("/note", "shop_notes"), get("/counted", "shop_notes"), implementation=interceptor("decorator")
    )
    async with driven(notes.app, spec) as driver:
        assert await driver.caches("/note")
        assert done == ["opened", "closed"] * 4
        done.clear()
        await driver.caches("/counted")
        assert done == ["task"] * 4


async def test_a_header_that_a_dependency_sets_anew_is_never_an_old_one(notes):
    count = iter(range(100))

    def left(response: Response):
        response.headers["X-Left"] = str(next(count))

    @notes.app.get("/note", dependencies=[Depends(left)])
    def note(session: Session = notes.given):
        return notes.titles(1, session)

    spec = specification(get("/note", "shop_notes"), implementation=interceptor("dependency"))
    async with driven(notes.app, spec) as driver:
        assert [(await driver.get("/note")).headers["x-left"] for _ in range(4)] == ["0", "1", "2", "3"]


class Appending(APIRoute):
    def get_route_handler(self):
        original = super().get_route_handler()

        async def handle(request: Request):
            answer = await original(request)
            answer.headers.append("x-seen", "1")
            return answer

        return handle


async def test_a_route_of_a_class_of_its_own_changes_an_answer_once(notes):
    notes.app.router.route_class = Appending

    @notes.app.get("/note")
    def note(session: Session = notes.given):
        return notes.titles(1, session)

    spec = specification(get("/note", "shop_notes"), implementation=interceptor("decorator"))
    async with driven(notes.app, spec) as driver:
        assert await driver.caches("/note")
        assert (await driver.get("/note")).headers.get_list("x-seen") == ["1"]


async def test_an_application_that_dependencies_call_is_not_taken_for_the_endpoint(notes):
    import httpx

    inner = FastAPI()

    @inner.get("/inner")
    def said():
        return "inner"

    async def asking():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(inner), base_url="http://inner") as client:
            assert (await client.get("/inner")).json() == "inner"

    @notes.app.get("/note", dependencies=[Depends(asking)])
    def note(session: Session = notes.given):
        return notes.titles(1, session)

    spec = specification(get("/note", "shop_notes"), implementation=interceptor("dependency"))
    async with driven(notes.app, spec) as driver:
        assert await driver.caches("/note")


async def test_a_load_inside_is_shared_and_a_write_ends_it(notes):
    opened = asyncio.Event()

    @notes.app.get("/note")
    async def note(session: Session = notes.given):
        found = notes.titles(1, session)
        await opened.wait()
        return found

    @notes.app.post("/write")
    def write(session: Session = notes.given):
        session.get_one(Note, 3).title = "written"
        session.commit()

    spec = specification(get("/note", "shop_notes"), implementation=interceptor("dependency"))
    async with driven(notes.app, spec) as driver:
        asked = [asyncio.ensure_future(driver.get("/note")) for _ in range(5)]
        await asyncio.sleep(0.1)
        opened.set()
        assert {(await each).status_code for each in asked} == {200}
        assert notes.called == 1
        assert await driver.hit("/note")
        await driver.send("POST", "/write")
        assert not await driver.hit("/note")
        assert "written" in (await driver.get("/note")).json()


@pytest.mark.requirement("#319", "C53")
async def test_a_condition_of_the_interceptor_leaves_the_cache_alone(notes):
    @notes.app.get("/note")
    def note(session: Session = notes.given, fresh: bool = False):
        return notes.titles(1, session)

    for kind in ("middleware", "dependency"):
        spec = specification(
            get("/note", "shop_notes", key="note:fresh={fresh}"),
            implementation=interceptor(kind, "GET /note", skip_condition="query.fresh == 'true'"),
        )
        async with driven(notes.app, spec) as driver:
            assert await driver.caches("/note")
            assert not await driver.caches("/note?fresh=1")


@pytest.mark.parametrize("form", ["middleware", "dependency"])
async def test_a_target_may_be_on_for_a_share_of_its_keys(notes, form):
    @notes.app.get("/notes/{note_id}")
    def note(note_id: int, session: Session = notes.given):
        return session.scalar(select(Note.title).where(Note.id == note_id))

    async def on(percent: int) -> set[int]:
        """The notes that are looked up at all."""
        target = get("/notes/{note_id}", "shop_notes", key="note:{note_id}", percent=percent)
        async with driven(notes.app, specification(target, implementation=interceptor(form))) as driver:
            for number in range(40):
                assert (await driver.get(f"/notes/{number}")).status_code == 200
            return {int(outcome.key.rpartition(":")[2]) for outcome in driver.outcomes}

    some, more = await on(20), await on(60)
    assert await on(0) == set()
    assert await on(100) == set(range(40))
    assert 0 < len(some) < len(more) < 40
    assert some < more, "who was served before is served on"
    assert await on(20) == some
