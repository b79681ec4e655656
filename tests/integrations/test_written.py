"""What `design` makes of a written request runs a matching application as it is: hits, isolation, invalidation."""

from datetime import UTC, datetime

import jwt
import pytest
import yaml
from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven
from tests.integrations.shop import Note, User

from cachewright.capture.routes import walk
from cachewright.checks import check
from cachewright.checks.subject import Known
from cachewright.design.written.planner import design_written
from cachewright.request.documents import backend_of
from cachewright.request.reading import loads_request
from cachewright.spec.document import dumps_spec, loads_spec

TABLES = """
CREATE TABLE shop_users (id integer PRIMARY KEY, name text);
CREATE TABLE shop_notes (id integer PRIMARY KEY, user_id integer REFERENCES shop_users(id) ON DELETE CASCADE, title text);
"""
_SECRET = "a secret of the application's own, long enough"


def token(user: int, *, device: int = 0) -> dict[str, str]:
    return {"authorization": f"Bearer {jwt.encode({'sub': str(user), 'device': device}, _SECRET)}"}


@pytest.fixture
def app(shop):
    def current(credentials: HTTPAuthorizationCredentials = Depends(HTTPBearer())) -> User:
        try:
            user = int(jwt.decode(credentials.credentials, _SECRET, ["HS256"])["sub"])
        except jwt.InvalidTokenError:
            raise HTTPException(401) from None
        with Session(shop.engine, expire_on_commit=False) as session:
            found = session.get(User, user)
        if found is None:
            raise HTTPException(401)
        return found

    @shop.app.get("/api/notes")
    def notes(page: int = 1, user: User = Depends(current)):
        with Session(shop.engine) as session:
            found = session.scalars(select(Note).where(Note.user_id == user.id).order_by(Note.id))
            return {"user": user.name, "page": page, "notes": [note.title for note in found]}

    @shop.app.post("/api/notes")
    def add(title: str, user: User = Depends(current)):
        with Session(shop.engine) as session:
            session.add(Note(user_id=user.id, title=title))
            session.commit()

    with Session(shop.engine) as session:
        session.merge(User(id=1, name="one"))
        session.merge(User(id=2, name="two"))
        session.commit()
    return shop.app


def designed(app, tmp_path, **inputs):
    given = {
        "backend_spec": app.openapi(),
        "database_spec": TABLES,
        "cache_targets": [
            {
                "endpoint": "GET /api/notes",
                "resource_type": "notes",
                "depends_on": ["shop_notes", "shop_users"],
            }
        ],
        **inputs,
    }
    document = loads_request(yaml.safe_dump({"skill": "backend-caching", "inputs": given}), "request.yaml")
    backend = backend_of(document.inputs, base=tmp_path, project=None)
    found = design_written(document, backend, now=datetime(2026, 1, 31, tzinfo=UTC))
    return loads_spec(dumps_spec(found.spec), "caching.yaml")


@pytest.mark.requirement("#5", "#375", "#157", "#160")
async def test_a_design_from_words_serves_each_only_their_own_and_never_late(app, tmp_path):
    document = designed(app, tmp_path)
    assert [
        finding for finding in check(document, known=Known(routes=walk(app))) if finding.severity == "error"
    ] == []
    async with driven(app, document) as driver:
        assert await driver.caches("/api/notes", headers=token(1))
        assert not await driver.hit("/api/notes", headers=token(2))
        assert not await driver.hit("/api/notes?page=2", headers=token(1))
        assert (await driver.send("POST", "/api/notes?title=new", headers=token(1))).status_code == 200
        assert not await driver.hit("/api/notes", headers=token(1))
        assert "new" in (await driver.get("/api/notes", headers=token(1))).json()["notes"]
        assert (await driver.get("/api/notes", headers={"authorization": "Bearer x"})).status_code == 401


@pytest.mark.requirement("#396")
async def test_a_request_for_nothing_runs_the_application_as_if_there_were_no_cache(app, tmp_path):
    document = designed(app, tmp_path, backend_spec=None, cache_targets=[])
    async with driven(app, document) as driver:
        await driver.get("/api/notes", headers=token(1))
        assert driver.outcomes == []


@pytest.mark.requirement("#156", "#158", "C66")
async def test_a_key_without_its_tenant_is_never_used(app, tmp_path):
    document = designed(app, tmp_path, multi_tenant={"enabled": True})
    async with driven(app, document) as driver:
        assert not await driver.caches("/api/notes", headers=token(1))
