"""What each broke an answer somewhere when it was missing."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from sqlalchemy import create_engine, event, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel
from sqlmodel import Session as ModelSession
from sqlmodel import select as model_select
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note, Shop, Tag, User, fill, make_engine

NOTE = get("/notes/{note_id}", "shop_notes(id={note_id})", key="note:{note_id}")


def with_note(shop: Shop) -> FastAPI:
    @shop.app.get("/notes/{note_id}")
    def read_note(note_id: int, session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == note_id))

    return shop.app


def change(engine, title="changed", note=1):
    with Session(engine) as session:
        session.get_one(Note, note).title = title
        session.commit()


# 1, 11: identity that travels through request.state


async def test_a_principal_that_carries_no_identity_is_keyed_by_its_credential(shop):
    def authenticate(request: Request, session: Session = shop.given) -> None:
        request.state.user = int(request.headers["x-who"])

    @shop.app.get("/mine", dependencies=[Depends(authenticate)])
    def mine(request: Request, session: Session = shop.given):
        return session.scalars(select(Note.title).where(Note.user_id == request.state.user)).all()

    for scope in ("public", "credential"):
        async with driven(shop.app, specification(get("/mine", "shop_notes", scope=scope))) as driver:
            for _ in range(2):
                for who in ("1", "2", "3"):
                    assert not await driver.hit("/mine", headers={"X-Who": who})
            assert driver.refused == ("unkeyed_read",)


# 2: commit after the response


@pytest.mark.parametrize("late", ["yield teardown", "background task", "middleware"])
async def test_a_commit_after_the_response_invalidates_when_it_happens(shop, late):
    def committing():
        with Session(shop.engine) as session:
            yield session
            session.commit()

    @shop.app.post("/teardown")
    def teardown(session: Session = Depends(committing)):
        session.get_one(Note, 1).title = "teardown"

    @shop.app.post("/background")
    def background(tasks: BackgroundTasks):
        tasks.add_task(change, shop.engine, "background")

    async def after(request, call_next):
        answer = await call_next(request)
        if request.method == "POST":
            await asyncio.to_thread(change, shop.engine, "middleware")
        return answer

    if late == "middleware":
        shop.app.add_middleware(BaseHTTPMiddleware, dispatch=after)
    async with driven(with_note(shop), specification(NOTE)) as driver:
        assert await driver.caches("/notes/1")
        await driver.send("POST", "/background" if late == "background task" else "/teardown")
        assert not await driver.hit("/notes/1")
        assert (await driver.get("/notes/1")).json() in ("teardown", "background", "middleware")


@pytest.mark.parametrize("flushed", [True, False])
async def test_a_read_that_writes_in_its_teardown_is_not_kept(shop, flushed):
    """A hit would leave the write out. Without a flush nothing of it is known when the answer leaves."""

    def committing():
        with Session(shop.engine) as session:
            yield session
            session.commit()

    @shop.app.get("/visit/{note_id}")
    def visit(note_id: int, session: Session = Depends(committing)):
        session.get_one(User, 1).name += "!"
        if flushed:
            session.flush()
        return session.scalar(select(Note.title).where(Note.id == note_id))

    spec = specification(get("/visit/{note_id}", "shop_notes(id={note_id})", "shop_users", key="v:{note_id}"))
    async with driven(shop.app, spec) as driver:
        for _ in range(3):
            await driver.get("/visit/1")
            assert not driver.outcomes[-1].hit
        with Session(shop.engine) as session:
            assert session.get_one(User, 1).name == "user 1!!!"


# 3: column sets are those of the specification, in every process


async def test_a_process_that_never_read_emits_the_tags_of_the_specification(tmp_path, valkey_url):
    spec = specification(NOTE)
    one = Shop(tmp_path / "one.db")
    async with driven(with_note(one), spec, redis_url=valkey_url) as reader:
        assert await reader.caches("/notes/1")
        await asyncio.to_thread(write_elsewhere, tmp_path / "one.db", spec, valkey_url)
        assert not await reader.hit("/notes/1")
        assert (await reader.get("/notes/1")).json() == "elsewhere"
    one.engine.dispose()


def write_elsewhere(path, spec, url):
    """As another worker: its own loop, its own installation, no reads."""
    app, engine = FastAPI(), make_engine(path)

    @app.post("/change")
    def write():
        change(engine, "elsewhere")

    async def run():
        async with driven(app, spec, redis_url=url) as driver:
            assert (await driver.send("POST", "/change")).status_code == 200

    asyncio.run(run())
    engine.dispose()


# 5: SQL of a middleware


@pytest.mark.parametrize("form", ["function", "plain"])
async def test_sql_of_a_middleware_is_part_of_the_load(shop, form):
    def title():
        with Session(shop.engine) as session:
            return session.scalar(select(Note.title).where(Note.id == 2))

    class Plain:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                scope["seen"] = await asyncio.to_thread(title)
            await self.app(dict(scope), receive, send)

    async def dispatch(request, call_next):
        request.scope["seen"] = await asyncio.to_thread(title)
        return await call_next(request)

    if form == "plain":
        shop.app.add_middleware(Plain)
    else:
        shop.app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)

    @shop.app.get("/seen")
    def seen(request: Request):
        return request.scope["seen"]

    async with driven(shop.app, specification(get("/seen", "shop_notes(id=1)"))) as driver:
        await driver.hit("/seen")
        assert "early_sql" in driver.refused
        await asyncio.to_thread(change, shop.engine, "other", 2)
        assert not await driver.hit("/seen")


async def test_the_middleware_of_a_mounted_application_runs_on_a_hit(shop):
    """The lookup sits inside of it: what it adds is added to a cached answer as well."""
    inner = FastAPI()

    async def dispatch(request, call_next):
        answer = await call_next(request)
        answer.headers["x-inner"] = "yes"
        return answer

    inner.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)

    @inner.get("/notes/{note_id}")
    def read_note(note_id: int, session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == note_id))

    shop.app.mount("/in", inner)
    spec = specification(get("/in/notes/{note_id}", "shop_notes(id={note_id})", key="note:{note_id}"))
    async with driven(shop.app, spec) as driver:
        assert await driver.caches("/in/notes/1")
        assert (await driver.get("/in/notes/1")).headers["x-inner"] == "yes"


# 6: no captured read


async def test_what_read_nothing_is_not_kept(shop):
    count = 0

    @shop.app.get("/counter")
    def counter():
        nonlocal count
        count += 1
        return count

    async with driven(shop.app, specification(get("/counter"))) as driver:
        assert [(await driver.get("/counter")).json() for _ in range(3)] == [1, 2, 3]
        assert driver.refused == ("no_dependency",)


async def test_a_read_that_failed_is_not_kept(shop):
    """The answer rests on a failure that the next request may not meet."""
    broken = True

    @shop.app.get("/careful")
    def careful(session: Session = shop.given):
        try:
            if broken:
                session.execute(text("SELECT * FROM shop_notes WHERE no_such_function_(1)")).all()
        except Exception:  # noqa: BLE001 - an application that hides its trouble
            session.rollback()
        return session.scalar(select(Note.title).where(Note.id == 1))

    async with driven(shop.app, specification(get("/careful", "shop_notes"))) as driver:
        await driver.get("/careful")
        assert "dependency_drift" in driver.refused
        broken = False
        assert await driver.caches("/careful")


# 7: a write in security


async def test_a_write_on_the_way_in_refuses_the_fill_unless_it_is_declared_harmless(shop):
    def seen(session: Session = shop.given):
        session.execute(update(User).where(User.id == 1).values(name="seen"))
        session.commit()

    @shop.app.get("/mine", dependencies=[Depends(seen)])
    def mine(session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == 1))

    async with driven(shop.app, specification(get("/mine", "shop_notes"))) as driver:
        assert not await driver.caches("/mine")
        assert driver.refused == ("wrote",)
    declared = specification(
        get("/mine", "shop_notes", "shop_users"), consistency={"ignore_writes": ["shop_users.name"]}
    )
    async with driven(shop.app, declared) as driver:
        assert await driver.caches("/mine")


# 8: Core inside of a flush


async def test_core_that_an_event_runs_inside_a_flush_is_seen(shop):
    def on_update(_mapper, connection, target):
        connection.execute(update(Tag.__table__).where(Tag.id == 1).values(name=f"of {target.title}"))

    @shop.app.get("/tags/{tag_id}")
    def tag(tag_id: int, session: Session = shop.given):
        return session.scalar(select(Tag.name).where(Tag.id == tag_id))

    event.listen(Note, "before_update", on_update)
    try:
        spec = specification(get("/tags/{tag_id}", "shop_tags(id={tag_id})", key="tag:{tag_id}"))
        async with driven(shop.app, spec) as driver:
            assert await driver.caches("/tags/1")
            change(shop.engine)
            assert not await driver.hit("/tags/1")
    finally:
        event.remove(Note, "before_update", on_update)


# 10: SQL without an owner, connections that escape


async def test_sql_of_a_thread_taints_what_is_being_loaded(shop):
    pool = ThreadPoolExecutor(1)

    def title():
        with Session(shop.engine) as session:
            return session.scalar(select(Note.title).where(Note.id == 2))

    @shop.app.get("/threaded")
    def threaded():
        return pool.submit(title).result()

    async with driven(shop.app, specification(get("/threaded", "shop_notes(id=1)"))) as driver:
        await driver.hit("/threaded")
        assert driver.refused == ("unowned_sql",)
        await asyncio.to_thread(change, shop.engine, "other", 2)
        assert not await driver.hit("/threaded")
    pool.shutdown()


@pytest.mark.parametrize("way", ["engine", "connection", "session"])
async def test_a_read_on_the_drivers_own_connection_is_not_kept(shop, way):
    @shop.app.get("/raw")
    def raw(session: Session = shop.given):
        match way:
            case "engine":
                connection = shop.engine.raw_connection()
            case "connection":
                connection = session.connection().connection
            case _:
                connection = session.connection().connection.driver_connection
        cursor = connection.cursor()
        cursor.execute("SELECT title FROM shop_notes WHERE id = 2")
        [found] = cursor.fetchone()
        if way == "engine":
            connection.close()
        return found

    async with driven(shop.app, specification(get("/raw", "shop_notes(id=1)"))) as driver:
        await driver.hit("/raw")
        assert "unowned_sql" in driver.refused
        await asyncio.to_thread(change, shop.engine, "other", 2)
        assert not await driver.hit("/raw")


@pytest.mark.parametrize("way", ["engine", "connection"])
async def test_the_raw_connections_of_async_engines_work_and_are_noticed(tmp_path, way):
    with Session(make_engine(tmp_path / "a.db")) as session:
        fill(session.get_bind())
    session.get_bind().dispose()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    app = FastAPI()

    @app.get("/note")
    async def note():
        async with AsyncSession(engine) as session:
            return await session.scalar(select(Note.title).where(Note.id == 1))

    @app.post("/raw")
    async def raw():
        if way == "engine":
            connection = await engine.raw_connection()
            driver = connection.driver_connection
            await driver.execute("UPDATE shop_notes SET title = 'raw' WHERE id = 1")
            await driver.commit()
            connection.close()
        else:
            async with engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                await driver.execute("UPDATE shop_notes SET title = 'raw' WHERE id = 1")
                await driver.commit()

    async with driven(app, specification(get("/note", "shop_notes(id=1)"))) as driver:
        assert await driver.caches("/note")
        assert (await driver.send("POST", "/raw")).status_code == 200
        await driver.hit("/note")
        assert (await driver.get("/note")).json() == "raw"
    await engine.dispose()


# 12: reads of headers, by whatever way


READS = {
    "a parameter": lambda request: request.headers.get("x-shade"),
    "an item": lambda request: request.headers.getlist("x-shade"),
    "all": lambda request: dict(request.headers).get("x-shade"),
    "the raw list": lambda request: [
        value.decode() for key, value in request.headers.raw if key == b"x-shade"
    ],
    "the scope": lambda request: [v.decode() for k, v in request.scope["headers"] if k == b"x-shade"],
    "a cookie": lambda request: request.cookies.get("shade"),
    "the query": lambda request: request.query_params.get("shade"),
    "the url": lambda request: request.url.query,
    "the address": lambda request: str(request.client),
}


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_a_read_that_the_key_lacks_is_not_kept(shop, read, copied):
    class Copying:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            await self.app(dict(scope), receive, send)

    @shop.app.get("/shaded")
    def shaded(request: Request, session: Session = shop.given):
        return [read(request), session.scalar(select(Note.title).where(Note.id == 1))]

    if copied:
        shop.app.add_middleware(Copying)
    async with driven(shop.app, specification(get("/shaded", "shop_notes"))) as driver:
        for shade in ("red", "green", "red"):
            await driver.hit(f"/shaded?shade={shade}", headers={"X-Shade": shade, "Cookie": f"shade={shade}"})
            assert "unkeyed_read" in driver.refused


async def test_a_plain_middleware_that_looks_at_the_headers_counts(shop):
    class Looking:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                scope = {**scope, "shade": dict(scope["headers"]).get(b"x-shade", b"").decode()}
            await self.app(scope, receive, send)

    @shop.app.get("/shaded")
    def shaded(request: Request, session: Session = shop.given):
        return [request.scope["shade"], session.scalar(select(Note.title).where(Note.id == 1))]

    shop.app.add_middleware(Looking)
    async with driven(shop.app, specification(get("/shaded", "shop_notes"))) as driver:
        for shade in ("red", "green"):
            assert not await driver.caches("/shaded", headers={"X-Shade": shade})


# 13: several workers and no bus


async def test_several_workers_without_a_server_between_them_are_not_cached(shop):
    async with driven(with_note(shop), specification(NOTE), workers=2) as driver:
        assert not await driver.caches("/notes/1")


# async sessions, SQLModel, lazy loads


async def test_async_sessions_and_engines(tmp_path):
    seeding = make_engine(tmp_path / "a.db")
    fill(seeding)
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    app = FastAPI()

    @app.get("/notes/{note_id}")
    async def read_note(note_id: int):
        async with AsyncSession(engine) as session:
            return await session.scalar(select(Note.title).where(Note.id == note_id))

    @app.post("/orm")
    async def orm():
        async with AsyncSession(engine) as session:
            (await session.get_one(Note, 1)).title += "!"
            await session.commit()

    @app.post("/core")
    async def core():
        async with engine.begin() as connection:
            await connection.execute(update(Note.__table__).where(Note.id == 1).values(title="core"))

    @app.post("/autocommit")
    async def autocommit():
        async with engine.connect() as connection:
            own = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await own.execute(text("UPDATE shop_notes SET title = 'auto' WHERE id = 1"))

    async with driven(app, specification(NOTE)) as driver:
        for path in ("/orm", "/core", "/orm", "/autocommit", "/orm"):
            assert await driver.caches("/notes/1")
            assert await driver.caches("/notes/2")
            assert (await driver.send("POST", path)).status_code == 200
            assert not await driver.hit("/notes/1")
            assert await driver.hit("/notes/2")
        await asyncio.to_thread(change, seeding)
        assert not await driver.hit("/notes/1")
    await engine.dispose()
    seeding.dispose()


async def test_a_request_that_is_cancelled_after_its_commit_has_invalidated(tmp_path, valkey_url):
    fill(seeding := make_engine(tmp_path / "a.db"))
    seeding.dispose()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    app, committed = FastAPI(), asyncio.Event()

    @app.get("/notes/{note_id}")
    async def read_note(note_id: int):
        async with AsyncSession(engine) as session:
            return await session.scalar(select(Note.title).where(Note.id == note_id))

    @app.post("/change")
    async def write():
        async with AsyncSession(engine) as session:
            (await session.get_one(Note, 1)).title = "committed"
            await session.commit()
            committed.set()
            await asyncio.sleep(30)

    async with driven(app, specification(NOTE), redis_url=valkey_url) as driver:
        assert await driver.caches("/notes/1")
        writing = asyncio.create_task(driver.send("POST", "/change"))
        await committed.wait()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert not await driver.hit("/notes/1")
        assert (await driver.get("/notes/1")).json() == "committed"
    await engine.dispose()


class Gadget(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    owner: int
    name: str


async def test_sqlmodel(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'm.db'}", connect_args={"check_same_thread": False})
    SQLModel.metadata.create_all(engine, tables=[Gadget.__table__])
    app = FastAPI()

    @app.get("/owners/{owner}/gadgets")
    def gadgets(owner: int) -> list[Gadget]:
        with ModelSession(engine) as session:
            return session.exec(model_select(Gadget).where(Gadget.owner == owner)).all()

    @app.post("/gadgets")
    def create(gadget: Gadget) -> Gadget:
        with ModelSession(engine) as session:
            session.add(gadget)
            session.commit()
            session.refresh(gadget)
            return gadget

    path = "/owners/{owner}/gadgets"
    async with driven(app, specification(get(path, "gadget(owner={owner})", key="g:{owner}"))) as driver:
        assert await driver.caches("/owners/1/gadgets")
        assert await driver.caches("/owners/2/gadgets")
        await driver.send("POST", "/gadgets", json={"owner": 1, "name": "lamp"})
        assert not await driver.hit("/owners/1/gadgets")
        assert await driver.hit("/owners/2/gadgets")
    engine.dispose()


async def test_lazy_loads_while_the_response_is_serialised_are_dependencies(shop):
    from pydantic import BaseModel, ConfigDict

    class TagOut(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        name: str

    class NoteOut(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        title: str
        loud: str
        tags: list[TagOut]

    @shop.app.get("/lazy/{note_id}", response_model=NoteOut)
    def lazy(note_id: int, session: Session = shop.given):
        return session.get_one(Note, note_id)

    short = specification(get("/lazy/{note_id}", "shop_notes(id={note_id})", key="l:{note_id}"))
    async with driven(shop.app, short) as driver:
        assert not await driver.caches("/lazy/1")
        assert driver.refused == ("dependency_drift",)
    whole = specification(
        get("/lazy/{note_id}", "shop_notes(id={note_id})", "shop_tags", "shop_tagged", key="l:{note_id}")
    )
    async with driven(shop.app, whole) as driver:
        assert await driver.caches("/lazy/1")
        with Session(shop.engine) as session:
            session.get_one(Tag, 1).name = "renamed"
            session.commit()
        assert not await driver.hit("/lazy/1")


async def test_two_engines_commit_each_for_itself(tmp_path):
    one, two = Shop(tmp_path / "one.db"), Shop(tmp_path / "two.db")
    app = FastAPI()

    @app.get("/both")
    def both():
        with Session(one.engine) as first, Session(two.engine) as second:
            return [s.scalar(select(Note.title).where(Note.id == 1)) for s in (first, second)]

    async with driven(app, specification(get("/both", "shop_notes(id=1)"))) as driver:
        for shop in (one, two, one):
            assert await driver.caches("/both")
            with Session(one.engine) as first, Session(two.engine) as second:
                (first if shop is one else second).get_one(Note, 1).title += "!"
                first.flush()
                second.flush()
                first.rollback() if shop is two else first.commit()
                second.commit()
            assert not await driver.hit("/both")
    for shop in (one, two):
        shop.engine.dispose()


async def test_concurrent_reads_and_writes_are_never_behind(shop):
    """After a write returned, what is read is that write or a later one."""

    @shop.app.post("/raise")
    def increase():
        with Session(shop.engine) as session:
            session.execute(text("UPDATE shop_seats SET guest = CAST(guest AS INTEGER) + 1 WHERE hall = 1"))
            session.commit()

    @shop.app.get("/guest")
    def guest(session: Session = shop.given):
        return session.scalar(text("SELECT guest FROM shop_seats WHERE hall = 1 AND number = 1"))

    async with driven(shop.app, specification(get("/guest", "shop_seats(hall=1,number=1)"))) as driver:
        written = 0
        lock = asyncio.Lock()

        async def write():
            nonlocal written
            for _ in range(8):
                async with lock:
                    await driver.send("POST", "/raise")
                    written += 1

        async def read():
            for _ in range(25):
                known = written
                answer = await driver.get("/guest")
                assert int(answer.json() or 0) >= known

        await asyncio.gather(write(), write(), *(read() for _ in range(4)))
        assert (await driver.get("/guest")).json() == "16"
        assert any(outcome.hit for outcome in driver.outcomes)


# write_ack: hold


@pytest.mark.parametrize(
    ("write_ack", "order"), [("none", ["answer", "commit"]), ("hold", ["commit", "answer"])]
)
async def test_held_answers_leave_after_a_commit_that_came_after_them(shop, write_ack, order):
    said = []

    def committing():
        with Session(shop.engine) as session:
            yield session
            session.commit()
            said.append("commit")

    @shop.app.post("/teardown")
    def teardown(session: Session = Depends(committing)):
        session.get_one(Note, 1).title = "teardown"
        return "written"

    spec = specification(NOTE, consistency={"write_ack": write_ack})
    async with driven(with_note(shop), spec) as driver:
        assert await driver.caches("/notes/1")

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            if message["type"] == "http.response.body":
                said.append("answer")

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/teardown",
            "raw_path": b"/teardown",
            "headers": [],
        }
        scope |= {"query_string": b"", "scheme": "http", "http_version": "1.1", "server": ("test", 80)}
        await driver.installed(scope, receive, send)
        assert said == order
        assert not await driver.hit("/notes/1")


async def test_a_held_answer_that_is_streamed_loses_nothing_and_waits_with_its_last_piece(shop):
    after = []

    @shop.app.post("/stream")
    def stream():
        def pieces():
            yield "a"
            yield "b"

        return StreamingResponse(pieces(), background=BackgroundTask(lambda: after.append("done")))

    async with driven(with_note(shop), specification(NOTE, consistency={"write_ack": "hold"})) as driver:
        answer = await driver.send("POST", "/stream")
    assert (answer.text, after) == ("ab", ["done"])
