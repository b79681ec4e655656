"""`authorization: target`: what a credential is accepted for, and what that says of nobody and nothing else."""

import asyncio
import time
from typing import Annotated, Any

import jwt
import pytest
from fastapi import Depends, Header, HTTPException, Request, Response
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as Refused
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from tests.apps import path_user
from tests.integrations.backends import token_of
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note, User

BY_USER = {"identity": {"user": "claim:sub"}}
BY_TENANT = {"identity": {"user": "claim:sub", "tenant": "claim:tid"}}
#: All rows of what security reads: it is the same for a whole tenant.
USERS, NOTES = "shop_users(id={user_id})", "shop_notes"


def bearer(user: int, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(user, **claims)}"}


def member(user: int, **claims: Any) -> dict[str, str]:
    return bearer(user, tid="a", **claims)


def subject(token: str) -> int:
    try:
        return int(jwt.decode(token, path_user.SIGNING_KEY, algorithms=["HS256"])["sub"])
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None


class Desk:
    """The shop's application behind a token, and whoever it knows."""

    def __init__(self, shop):
        self.app, self.engine, self.session = shop.app, shop.engine, shop.given

        def who(
            token: Annotated[str, Depends(OAuth2PasswordBearer("token"))], session: Session = shop.given
        ) -> Any:
            user = session.execute(select(User.id, User.name).where(User.id == subject(token))).first()
            if user is None:
                raise HTTPException(401)
            return user

        self.who = who

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture
def desk(shop):
    return Desk(shop)


@pytest.fixture
def own(desk):
    """`GET /notes/{note_id}`: a note of one's own."""

    @desk.app.get("/notes/{note_id}")
    def note(note_id: int, user: Any = Depends(desk.who), session: Session = desk.session) -> Any:
        found = session.scalar(select(Note).where(Note.id == note_id, Note.user_id == user.id))
        if found is None:
            return JSONResponse("not here", 404)
        return f"{user.name}: {found.title}"

    return desk


@pytest.fixture
def shared(desk):
    """`GET /shared/{note_id}`: any note, for whoever is known."""

    @desk.app.get("/shared/{note_id}")
    def note(note_id: int, user: Any = Depends(desk.who), session: Session = desk.session) -> str:
        if user.name == "refused":
            raise HTTPException(403)
        return session.get_one(Note, note_id).title

    return desk


def of_user(**extra: Any) -> dict[str, Any]:
    reads = USERS, "shop_notes(id={note_id},user_id={user_id})"
    given = {"authorization": "target", **extra}
    return get("/notes/{note_id}", *reads, key="user:{user_id}:note:{note_id}", scope="user", **given)


def of_tenant(*reads: str, path: str = "/shared/{note_id}", **extra: Any) -> dict[str, Any]:
    given = {"authorization": "target", **extra}
    key = "tenant:{tenant_id}:note:{note_id}"
    return get(path, *(reads or ("shop_users", NOTES)), key=key, scope="tenant", **given)


@pytest.mark.parametrize(("authorization", "at_once"), [("target", True), ("object", False)])
async def test_a_second_device_is_accepted_for_all_objects_of_its_user_at_once(own, authorization, at_once):
    async with driven(own.app, specification(of_user(authorization=authorization), **BY_USER)) as driver:
        for note in (3, 6, 9):  # those of user 1
            assert await driver.caches(f"/notes/{note}", headers=bearer(1))
        other = bearer(1, jti="another device")
        assert not await driver.hit("/notes/3", headers=other)
        assert await driver.hit("/notes/6", headers=other) is at_once
        assert await driver.hit("/notes/9", headers=other) is at_once


async def test_one_member_is_accepted_for_what_others_of_the_tenant_loaded(shared):
    async with driven(shared.app, specification(of_tenant(), **BY_TENANT)) as driver:
        for note in (1, 2, 3):
            assert await driver.caches(f"/shared/{note}", headers=member(1))
        assert not await driver.hit("/shared/1", headers=member(2))
        assert await driver.hit("/shared/2", headers=member(2))
        assert await driver.hit("/shared/3", headers=member(2))


async def test_nobody_else_is_let_in_however_much_is_kept(own):
    swapped = ".".join((*token_of(2).split(".")[:1], token_of(1).split(".")[1], token_of(2).split(".")[2]))
    strangers = (
        bearer(2),
        {"Authorization": f"Bearer {jwt.encode({'sub': '1'}, None, algorithm='none')}"},
        {"Authorization": f"Bearer {jwt.encode({'sub': '1'}, 'x' * 40, algorithm='HS256')}"},
        {"Authorization": f"Bearer {swapped}"},
        bearer(1, role="admin"),  # says more of its bearer than the token it was loaded under
        {},
    )
    async with driven(own.app, specification(of_user(), **BY_USER)) as driver:
        for note in (3, 6):
            assert await driver.caches(f"/notes/{note}", headers=bearer(1))
        for headers in strangers:
            for note in (3, 6):
                assert not await driver.hit(f"/notes/{note}", headers=headers)
        for note in (1, 4):
            assert await driver.caches(f"/notes/{note}", headers=bearer(2))
        assert await driver.caches("/notes/3", headers=bearer(1))


async def test_a_member_of_another_tenant_is_asked_for(shared):
    async with driven(shared.app, specification(of_tenant(), **BY_TENANT)) as driver:
        for note in (1, 2):
            assert await driver.caches(f"/shared/{note}", headers=member(1))
        for note in (1, 2):
            assert not await driver.hit(f"/shared/{note}", headers=bearer(1, tid="b"))
        assert await driver.hit("/shared/2", headers=member(1))


async def test_a_user_who_is_gone_is_refused_for_every_object_at_once(own):
    async with driven(own.app, specification(of_user(), **BY_USER)) as driver:
        for note in (3, 6):
            assert await driver.caches(f"/notes/{note}", headers=bearer(1))
        own.execute("DELETE FROM shop_users WHERE id = 1")
        for note in (3, 6):
            assert not await driver.hit(f"/notes/{note}", headers=bearer(1))
            assert (await driver.get(f"/notes/{note}", headers=bearer(1))).status_code == 401


async def test_a_role_that_changed_counts_for_every_object_at_once(shared):
    async with driven(shared.app, specification(of_tenant(), **BY_TENANT)) as driver:
        for note in (1, 2):
            for user in (1, 2):
                await driver.caches(f"/shared/{note}", headers=member(user))
        shared.execute("UPDATE shop_users SET name = 'refused' WHERE id = 2")
        assert await driver.caches("/shared/1", headers=member(1))
        assert await driver.caches("/shared/2", headers=member(1))
        for note in (1, 2):
            assert not await driver.hit(f"/shared/{note}", headers=member(2))
            assert (await driver.get(f"/shared/{note}", headers=member(2))).status_code == 403


async def test_a_logout_ends_what_the_credential_was_accepted_for(own):
    @own.app.post("/logout")
    def logout(response: Response, user: Any = Depends(own.who)) -> None:
        response.set_cookie("left", str(user.id))

    async with driven(own.app, specification(of_user(), **BY_USER)) as driver:
        other = bearer(1, jti="another device")
        for headers in (bearer(1), other):
            for note in (3, 6):
                await driver.caches(f"/notes/{note}", headers=headers)
        await driver.send("POST", "/logout", headers=other)
        assert not await driver.hit("/notes/6", headers=other)
        assert await driver.hit("/notes/6", headers=bearer(1))


async def test_it_lasts_no_longer_than_the_token_and_is_not_prolonged_by_use(own):
    async with driven(own.app, specification(of_user(), **BY_USER)) as driver:
        for note in (3, 6):
            assert await driver.caches(f"/notes/{note}", headers=bearer(1))
        end = int(time.time()) + 2
        ending = bearer(1, exp=end)
        await driver.hit("/notes/3", headers=ending)
        while time.time() < end:
            await driver.get("/notes/6", headers=ending)
            await asyncio.sleep(0.05)
        assert any(outcome.hit for outcome in driver.outcomes[-20:])
        assert (await driver.get("/notes/6", headers=ending)).status_code == 401


async def test_a_header_that_names_the_tenant_is_accepted_for_that_tenant_alone(desk):
    """User 1 belongs to `red`, user 2 to both: their notes lie there."""

    def team(
        x_team: Annotated[str, Header()], user: Any = Depends(desk.who), session: Session = desk.session
    ) -> str:
        if x_team not in session.scalars(select(Note.folder).where(Note.user_id == user.id)):
            raise HTTPException(403)
        return f"{x_team}, {user.name}"

    @desk.app.get("/team/{note_id}")
    def note(note_id: int, who: Annotated[str, Depends(team)], session: Session = desk.session) -> str:
        return f"{who}: {session.get_one(Note, note_id).title}"

    desk.execute("UPDATE shop_notes SET folder = CASE WHEN user_id = 2 AND id > 2 THEN 'blue' ELSE 'red' END")
    target = of_tenant(path="/team/{note_id}")
    target |= {"scope": "user", "cache_key_pattern": "tenant:{tenant_id}:user:{user_id}:note:{note_id}"}
    spec = specification(target, identity={"user": "claim:sub", "tenant": "header:X-Team"})
    async with driven(desk.app, spec) as driver:

        async def hit(note: int, team: str, user: int, device: str) -> bool:
            return await driver.hit(f"/team/{note}", headers={**bearer(user, jti=device), "X-Team": team})

        for note in (1, 2):
            for color in ("red", "blue"):
                await hit(note, color, 2, "first")
                assert await hit(note, color, 2, "first")
        assert not await hit(1, "red", 2, "second")
        assert await hit(2, "red", 2, "second")
        assert not await hit(2, "blue", 2, "second"), "it was accepted for red"
        for note in (1, 2):
            await hit(note, "red", 1, "first")
            assert await hit(note, "red", 1, "first")
            for _ in range(2):
                assert not await hit(note, "blue", 1, "first")


@pytest.mark.parametrize("where", ["path", "query"])
async def test_what_security_reads_of_path_and_query_is_accepted_by_itself(desk, where):
    """A dependency on top of the one that knows the user says who may see which note."""

    def may_see(note_id: int, user: Any = Depends(desk.who), session: Session = desk.session) -> Note:
        note = session.get_one(Note, note_id)
        if note.user_id != user.id:
            raise HTTPException(403)
        return note

    path = "/seen/{note_id}" if where == "path" else "/seen"

    @desk.app.get(path)
    def seen(note: Annotated[Note, Depends(may_see)], page: int = 0) -> str:
        return f"{note.title}, {page}"

    target = of_tenant(path=path)
    target["cache_key_pattern"] += ":page={page}"
    async with driven(desk.app, specification(target, **BY_TENANT)) as driver:

        async def hit(note: int, page: int, user: int) -> bool:
            place = f"/seen/{note}?page={page}" if where == "path" else f"/seen?note_id={note}&page={page}"
            return await driver.hit(place, headers=member(user))

        for page in (0, 1):
            for note, user in ((3, 1), (6, 1), (1, 2)):
                await hit(note, page, user)
                assert await hit(note, page, user)
        for page in (0, 1):
            assert not await hit(3, page, 2), "user 2 was accepted for a note of its own"
        second = member(1, jti="another device")
        first = "/seen/3?page=0" if where == "path" else "/seen?note_id=3&page=0"
        assert not await driver.hit(first, headers=second)
        assert await driver.hit(first.replace("page=0", "page=1"), headers=second), "only the page differs"


def decided(driver) -> int:
    """How often it was seen that access depends on the object."""
    target = next(iter(driver.installed.figures()["targets"].values()))
    return target["refused"].get("object_decides", 0)


async def test_security_that_reads_rows_of_the_object_unseen_has_each_object_accepted(desk):
    """The declaration is wrong, and no parameter tells: it is seen in the SQL that ran before the endpoint."""

    def may_see(request: Request, user: Any = Depends(desk.who), session: Session = desk.session) -> None:
        owner = select(Note.user_id).where(Note.id == int(request.path_params["note_id"]))
        if session.scalar(owner) != user.id:
            raise HTTPException(403)

    @desk.app.get("/guarded/{note_id}", dependencies=[Depends(may_see)])
    def guarded(note_id: int, session: Session = desk.session) -> str:
        return session.get_one(Note, note_id).title

    target = of_tenant("shop_users", "shop_notes(id={note_id})", path="/guarded/{note_id}")
    async with driven(desk.app, specification(target, **BY_TENANT)) as driver:
        for note, user in ((3, 1), (1, 2)):
            for _ in range(3):
                await driver.hit(f"/guarded/{note}", headers=member(user))
            assert await driver.hit(f"/guarded/{note}", headers=member(user))
        for _ in range(3):
            assert not await driver.hit("/guarded/3", headers=member(2))
            assert not await driver.hit("/guarded/1", headers=member(1))
        assert decided(driver) == 1


async def test_a_refused_object_ends_what_was_accepted_for_all_of_them(desk, caplog):
    """The declaration is wrong, and only the endpoint knows."""

    @desk.app.get("/kept/{note_id}")
    def kept(note_id: int, user: Any = Depends(desk.who), session: Session = desk.session) -> str:
        note = session.get_one(Note, note_id)
        if note.user_id != user.id:
            raise HTTPException(403)
        return note.title

    async with driven(desk.app, specification(of_tenant(path="/kept/{note_id}"), **BY_TENANT)) as driver:
        assert await driver.caches("/kept/1", headers=member(2))
        assert not await driver.hit("/kept/3", headers=member(2))
        assert decided(driver) == 1
        assert "access depends on the object" in caplog.text
        for note in (3, 6):
            assert await driver.caches(f"/kept/{note}", headers=member(1))
        for note in (3, 6):
            assert not await driver.hit(f"/kept/{note}", headers=member(2))
        assert await driver.caches("/kept/1", headers=member(2))


async def test_a_credential_that_ended_is_no_sign_that_the_object_decides(own):
    async with driven(own.app, specification(of_user(), **BY_USER)) as driver:
        assert await driver.caches("/notes/3", headers=bearer(1))
        own.execute("DELETE FROM shop_users WHERE id = 1")
        assert (await driver.get("/notes/6", headers=bearer(1))).status_code == 401
        assert decided(driver) == 0


async def test_what_is_not_there_accepts_nobody(own):
    spec = specification(of_user(strategy={"ttl": {"negative_duration_seconds": 60}}), **BY_USER)
    async with driven(own.app, spec) as driver:
        assert not await driver.hit("/notes/1", headers=bearer(1))
        assert not await driver.hit("/notes/1", headers=bearer(1)), "a 404 is no word for a credential"
        assert await driver.caches("/notes/3", headers=bearer(1))
        assert await driver.caches("/notes/1", headers=bearer(1))


@pytest.mark.parametrize("levels", [["l1", "l2"], ["l2"], ["l3"]])
async def test_another_process_takes_the_word_and_loses_it_with_the_row(own, levels, valkey_url, tmp_path):
    spec = specification(of_user(levels=levels), **BY_USER)
    around = {"redis_url": valkey_url, "secret": b"s", "workers": 2}
    async with driven(own.app, spec, **around) as one, driven(own.app, spec, **around) as two:
        for note in (3, 6):
            assert await one.caches(f"/notes/{note}", headers=bearer(1))
        other = bearer(1, jti="another device")
        assert not await one.hit("/notes/3", headers=other)
        assert await two.hit("/notes/6", headers=other)
        assert await two.hit("/notes/3", headers=other)
        own.execute("UPDATE shop_users SET name = 'renamed' WHERE id = 1")
        for driver in (one, two):
            assert not await driver.hit("/notes/6", headers=other)


async def test_without_dependencies_all_that_a_load_reads_counts(shop):
    """In Starlette nobody sees where security ends; what a load reads beyond the scope is of the object."""

    def note(request: Request) -> PlainTextResponse:
        try:
            user = subject(request.headers["authorization"].removeprefix("Bearer "))
        except (HTTPException, KeyError):
            raise Refused(401) from None
        with Session(shop.engine) as session:
            name = session.scalar(select(User.name).where(User.id == user))
            wanted = select(Note.title).where(Note.id == request.path_params["note_id"], Note.user_id == user)
            return PlainTextResponse(f"{name}: {session.scalars(wanted).first()}")

    app = Starlette(routes=[Route("/notes/{note_id:int}", note)])
    async with driven(app, specification(of_user(), **BY_USER)) as driver:
        for note_id in (3, 6):
            await driver.hit(f"/notes/{note_id}", headers=bearer(1))
            assert await driver.caches(f"/notes/{note_id}", headers=bearer(1))
        other = bearer(1, jti="another device")
        for note_id in (3, 6):
            assert not await driver.hit(f"/notes/{note_id}", headers=other)
        assert decided(driver) == 1
    everything = of_user()
    everything["depends_on"] = ["shop_users(id={user_id})", "shop_notes"]
    async with driven(app, specification(everything, **BY_USER)) as driver:
        for note_id in (3, 6):
            assert await driver.caches(f"/notes/{note_id}", headers=bearer(1))
        assert not await driver.hit("/notes/3", headers=other)
        assert await driver.hit("/notes/6", headers=other)


@pytest.fixture
def private(desk):
    """`GET /private/{note_id}`: the object decides about some notes only, and says 404: only the SQL of a load tells."""

    def may_see(request: Request, user: Any = Depends(desk.who), session: Session = desk.session) -> None:
        note = int(request.path_params["note_id"])
        if note > 5 and session.scalar(select(Note.user_id).where(Note.id == note)) != user.id:
            raise HTTPException(404)

    @desk.app.get("/private/{note_id}", dependencies=[Depends(may_see)])
    def note(note_id: int, session: Session = desk.session) -> str:
        return session.get_one(Note, note_id).title

    return desk


def of_private() -> dict[str, Any]:
    return of_tenant("shop_users", "shop_notes(id={note_id})", path="/private/{note_id}")


async def test_a_request_that_was_bound_before_the_declaration_fell_is_bound_anew(private):
    async with driven(private.app, specification(of_private(), **BY_TENANT)) as driver:
        assert await driver.caches("/private/1", headers=member(2))
        assert not await driver.hit("/private/6", headers=member(2)), "a note of user 1"
        for _ in range(2):
            assert not await driver.hit("/private/6", headers=member(1))
        assert await driver.hit("/private/6", headers=member(1))
        assert decided(driver) == 1
        assert not await driver.hit("/private/6", headers=member(2))
        assert (await driver.get("/private/6", headers=member(2))).status_code == 404


async def test_what_one_process_found_out_leaks_through_no_other_that_still_believes(private, valkey_url):
    spec = specification(of_private(), **BY_TENANT)
    around = {"redis_url": valkey_url, "secret": b"s", "workers": 2}
    async with driven(private.app, spec, **around) as one, driven(private.app, spec, **around) as two:
        assert await two.caches("/private/1", headers=member(2))
        for _ in range(3):
            await one.hit("/private/6", headers=member(1))
        assert await one.hit("/private/6", headers=member(1))
        assert (decided(one), decided(two)) == (1, 0)
        assert not await two.hit("/private/6", headers=member(2))
        assert (await two.get("/private/6", headers=member(2))).status_code == 404
        assert not await two.hit("/private/6", headers=member(1))
        assert decided(two) == 1
        assert not await two.hit("/private/6", headers=member(2))
