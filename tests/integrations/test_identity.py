"""Who may have an answer: forged, expired and swapped credentials, users deactivated, sessions ended."""

import asyncio
import time
from typing import Annotated

import httpx
import jwt
import pytest
from fastapi import Cookie, Depends, Request
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery, OAuth2PasswordBearer
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from tests.apps import path_user
from tests.integrations.backends import PATH_USER, ROLES, document, target, token_of
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note
from tests.servers import serve_app

from cachewright.integrations.surroundings import Surroundings
from cachewright.verify.run import build_twin


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def notes(tmp_path):
    url = f"sqlite:///{tmp_path / 'app.db'}"
    path_user.seed(url)
    app = path_user.build(url)
    yield app
    app.state.engine.dispose()


def unsigned(claims) -> str:
    return jwt.encode(claims, None, algorithm="none")


FORGED = {
    "unsigned": unsigned({"sub": "1", "exp": path_user.FAR_FUTURE}),
    "signed with another key": jwt.encode({"sub": "1"}, "x" * 40, algorithm="HS256"),
    "the payload of another": ".".join(
        (token_of(2).split(".")[0], token_of(1).split(".")[1], token_of(2).split(".")[2])
    ),
    "a stripped signature": token_of(1).rpartition(".")[0] + ".",
    "a token of another user": token_of(2),
    "nothing": "",
    "not a token": "a.b.c",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
async def test_a_forged_token_gets_what_the_application_says_however_warm_the_cache_is(
    notes, forged, valkey_url
):
    async with driven(notes, document(PATH_USER), redis_url=valkey_url, secret=b"s") as driver:
        url = "/users/1/notes"
        assert await driver.caches(url, headers=bearer(token_of(1)))
        for _ in range(3):
            assert not await driver.hit(url, headers=bearer(forged))
            assert (await driver.get(url, headers=bearer(forged))).status_code in (401, 403)
        assert not await driver.hit(url)
        assert await driver.hit(url, headers=bearer(token_of(1)))


async def test_a_second_token_of_one_user_shares_the_entry_only_after_the_application_accepted_it(notes):
    async with driven(notes, document(PATH_USER)) as driver:
        assert await driver.caches("/users/1/notes", headers=bearer(token_of(1)))
        other = bearer(token_of(1, jti="another device"))
        assert not await driver.hit("/users/1/notes", headers=other)
        assert await driver.hit("/users/1/notes", headers=other)
        assert await driver.hit("/users/1/notes", headers=bearer(token_of(1)))


async def test_a_token_that_says_more_of_its_bearer_is_served_nothing_that_another_one_loaded(notes):
    async with driven(notes, document(PATH_USER)) as driver:
        plain, special = bearer(token_of(1)), bearer(token_of(1, role="admin"))
        for headers in (plain, special, plain, special):
            assert not await driver.hit("/users/1/notes", headers=headers)


async def test_an_expired_token_is_refused_from_its_very_end(notes):
    async with driven(notes, document(PATH_USER)) as driver:
        end = int(time.time()) + 3
        headers = bearer(token_of(1, exp=end))
        assert await driver.caches("/users/1/notes", headers=headers)
        served = []
        while time.time() < end + 0.05:
            answer = await driver.get("/users/1/notes", headers=headers)
            served.append((time.time(), answer.status_code, driver.outcomes[-1].hit))
        assert any(hit for _, _, hit in served)
        assert served[-1][1:] == (401, False)
        assert not await driver.hit("/users/1/notes", headers=headers)


async def test_a_deactivated_user_is_refused_at_once(notes):
    async with driven(notes, document(PATH_USER)) as driver:
        for path in ("/users/1/notes", "/users/1/summary"):
            assert await driver.caches(path, headers=bearer(token_of(1)))
        with notes.state.engine.begin() as connection:
            connection.execute(text("UPDATE users SET active = 0 WHERE id = 1"))
        for path in ("/users/1/notes", "/users/1/summary"):
            assert not await driver.hit(path, headers=bearer(token_of(1)))
            assert (await driver.get(path, headers=bearer(token_of(1)))).status_code == 401


@pytest.fixture
def papers(tmp_path):
    url = f"sqlite:///{tmp_path / 'app.db'}"
    ROLES.module.seed(url)
    app = ROLES.module.build(url)
    yield app
    app.state.engine.dispose()


async def test_after_logout_the_cookie_is_refused(papers):
    async with driven(papers, document(ROLES)) as driver:
        headers = {"Cookie": "sid=sid-mia"}
        for path in ("/documents", "/me", "/documents/count"):
            assert await driver.caches(path, headers=headers)
        await driver.send("POST", "/logout", headers=headers)
        for path in ("/documents", "/me", "/documents/count"):
            assert not await driver.hit(path, headers=headers)
            assert (await driver.get(path, headers=headers)).status_code == 401


async def test_swapped_added_and_quoted_cookies_are_other_credentials(papers):
    async with driven(papers, document(ROLES)) as driver:
        assert await driver.caches("/me", headers={"Cookie": "sid=sid-mia"})
        for cookie in (
            "sid=sid-noah",
            "sid=sid-mia; sid=sid-noah",
            "sid=sid-noah; sid=sid-mia",
            'sid="sid-mia"',
            'sid="sid-noah"',
            "SID=sid-mia",
            "sid =sid-mia",
            "sid=sid-mia ; theme=dark",
            "sid",
            "",
        ):
            for _ in range(2):
                await driver.hit("/me", headers={"Cookie": cookie})
        assert await driver.hit("/me", headers={"Cookie": "sid=sid-mia"})


async def test_a_role_that_changed_changes_the_answers_at_once(papers):
    async with driven(papers, document(ROLES)) as driver:
        olga, root = {"Cookie": "sid=sid-olga"}, {"Cookie": "sid=sid-root"}
        assert await driver.caches("/documents", headers=olga)
        await driver.send("PUT", "/accounts/4/role", json={"role": "member"}, headers=root)
        assert not await driver.hit("/documents", headers=olga)
        assert (await driver.get("/documents", headers=olga)).json() == []


async def test_a_forged_token_beside_a_good_one_cannot_put_an_answer_into_the_entry_of_another(shop):
    """The application believes the cookie; the header names somebody else."""

    def who(request: Request, access: Annotated[str | None, Cookie()] = None) -> int:
        given = access or request.headers["authorization"].removeprefix("Bearer ")
        return int(jwt.decode(given, path_user.SIGNING_KEY, algorithms=["HS256"])["sub"])

    @shop.app.get("/mine")
    def mine(user: int = Depends(who), session: Session = shop.given):
        return session.scalars(select(Note.title).where(Note.user_id == user).order_by(Note.id)).all()

    target_ = get(
        "/mine", "shop_notes(user_id={user_id})", key="user:{user_id}:mine", scope="user", ignored_reads=[]
    )
    async with driven(shop.app, specification(target_, identity={"user": "claim:sub"})) as driver:
        for _ in range(2):
            for headers in (
                {"Cookie": f"access={token_of(2)}", **bearer(token_of(1))},
                {"Cookie": f"access={token_of(2)}", **bearer(unsigned({"sub": "1"}))},
                {"Cookie": f"other={token_of(1)}; access={token_of(2)}"},
                {"Cookie": f"access={token_of(2)}; other={token_of(1)}"},
                {"Cookie": f"access={token_of(1)}"},
                bearer(token_of(1)),
                bearer(token_of(2)),
            ):
                await driver.hit("/mine", headers=headers)


SCHEMES = {
    "header": (APIKeyHeader(name="X-Kunde"), lambda who: ({"X-Kunde": who}, "")),
    "query": (APIKeyQuery(name="k"), lambda who: ({}, f"?k={who}")),
    "cookie": (APIKeyCookie(name="c"), lambda who: ({"Cookie": f"c={who}"}, "")),
    "bearer": (OAuth2PasswordBearer("token"), lambda who: (bearer(who), "")),
}


@pytest.mark.parametrize(("scheme", "given"), SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("scope", ["credential", "public"])
@pytest.mark.parametrize("overridden", [False, True])
async def test_what_a_security_scheme_reads_keeps_answers_apart(shop, scheme, given, scope, overridden):
    def nobody() -> str:
        return "1"

    def who(key: str = Depends(scheme)) -> str:
        return key

    if overridden:
        shop.app.dependency_overrides[nobody] = who

    @shop.app.get("/mine")
    def mine(who: str = Depends(nobody if overridden else who), session: Session = shop.given):
        return session.scalars(select(Note.title).where(Note.user_id == int(who)).order_by(Note.id)).all()

    async with driven(shop.app, specification(get("/mine", "shop_notes", scope=scope))) as driver:
        for _ in range(3):
            for user in ("1", "2", "3"):
                headers, query = given(user)
                hit = await driver.hit(f"/mine{query}", headers=headers)
        assert hit == (scope == "credential")
        assert (await driver.get("/mine")).status_code in (401, 403)


async def test_nobody_joins_a_load_that_the_application_did_not_accept_him_for(notes):
    """Many requests at once for one key, most of them forged, while the first is being loaded."""
    async with driven(notes, document(PATH_USER)) as driver:
        good, bad = bearer(token_of(1)), [bearer(token) for token in FORGED.values()]
        for _ in range(3):
            answers = await asyncio.gather(
                *(driver.get("/users/1/notes", headers=headers) for headers in (good, *bad, good, *bad, good))
            )
            statuses = [answer.status_code for answer in answers]
            step = len(bad) + 1
            assert statuses[::step] == [200, 200, 200]
            assert all(status in (401, 403) for at, status in enumerate(statuses) if at % step)
            with notes.state.engine.begin() as connection:
                connection.execute(text("UPDATE notes SET title = title || '!' WHERE user_id = 1"))


BROKEN = {
    "no identity in the key": (
        target("/users/{user_id}/summary", "summary", "public", "notes", "users"),
        target("/users/{user_id}/notes", "notes:pinned={pinned}", "public", "notes", "users"),
    ),
    "user scope without its key part": (
        target("/users/{user_id}/summary", "summary", "user", "notes", "users"),
        target("/users/{user_id}/notes", "notes:pinned={pinned}", "user", "notes", "users"),
    ),
    "a table is missing": (
        target(
            "/users/{user_id}/summary",
            "user:{user_id}:summary:{path.user_id}",
            "user",
            "users(id={path.user_id})",
        ),
        target(
            "/users/{user_id}/notes",
            "user:{user_id}:notes:{path.user_id}:pinned={pinned}",
            "user",
            "users(id={path.user_id})",
        ),
    ),
    "a wrong column": (
        target(
            "/users/{user_id}/notes",
            "user:{user_id}:notes:{path.user_id}:pinned={pinned}",
            "user",
            "users(id={path.user_id})",
            "notes(id={path.user_id})",
        ),
    ),
    "a parameter is missing": (
        target(
            "/users/{user_id}/notes",
            "user:{user_id}:notes:{path.user_id}",
            "user",
            "users(id={path.user_id})",
            "notes(user_id={path.user_id})",
        ),
    ),
    "the path is missing": (
        target("/users/{user_id}/notes/{note_id}", "user:{user_id}:note", "user", "users", "notes"),
    ),
}


def misuse(base: str) -> None:
    with httpx.Client(base_url=base, timeout=30) as client:
        for turn in range(4):
            for user in (1, 2):
                headers = bearer(token_of(user))
                for path in (
                    "notes",
                    "summary",
                    "notes?pinned=true",
                    "notes/4" if user == 1 else "notes/1",
                    "notes/8" if user == 1 else "notes/5",
                ):
                    client.get(f"/users/{user}/{path}", headers=headers)
                client.get(f"/users/{3 - user}/notes", headers=headers)
                if turn % 2:
                    client.post(
                        f"/users/{user}/notes", json={"title": f"t{turn}", "pinned": True}, headers=headers
                    )


@pytest.mark.parametrize("targets", BROKEN.values(), ids=BROKEN)
def test_a_broken_specification_taken_at_its_word_shows_in_the_twin(notes, targets, valkey_url):
    around = Surroundings(redis_url=valkey_url, secret=b"s")
    twin = build_twin(notes, document(PATH_USER, list(targets)), around)
    with serve_app(twin) as base:
        misuse(base)
    assert twin.tally.differences > 0
    assert twin.tally.details[0]["kind"] == "difference"


@pytest.mark.parametrize("targets", BROKEN.values(), ids=BROKEN)
async def test_the_same_broken_specification_serves_no_wrong_byte(notes, targets, valkey_url):
    async with driven(notes, document(PATH_USER, list(targets)), redis_url=valkey_url) as driver:
        for turn in range(3):
            for user in (1, 2):
                headers = bearer(token_of(user))
                for path in (
                    "notes",
                    "summary",
                    "notes?pinned=true",
                    f"notes/{4 if user == 1 else 1}",
                    f"notes/{8 if user == 1 else 5}",
                ):
                    await driver.hit(f"/users/{user}/{path}", headers=headers)
                await driver.hit(f"/users/{3 - user}/notes", headers=headers)
                await driver.send(
                    "POST",
                    f"/users/{user}/notes",
                    json={"title": f"t{turn}", "pinned": True},
                    headers=headers,
                )
