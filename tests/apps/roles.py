"""Sync SQLAlchemy; a session cookie read through a plain `Cookie()` parameter, looked up in a table.

An administrator sees everything, a member sees what is theirs. The application sets ETags, logs in a
BaseHTTPMiddleware, compresses, and answers cross-origin requests.
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Annotated

import httpx
from fastapi import APIRouter, Cookie, Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy import ForeignKey, Select, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker
from starlette.middleware.base import BaseHTTPMiddleware

log = logging.getLogger(__name__)

PEOPLE = {1: ("root", "admin"), 2: ("mia", "member"), 3: ("noah", "member"), 4: ("olga", "auditor")}
SIDS = {"sid-root": 1, "sid-mia": 2, "sid-mia-phone": 2, "sid-noah": 3, "sid-olga": 4}
DOCUMENTS = 90


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]


class Visit(Base):
    __tablename__ = "web_sessions"

    sid: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    account: Mapped[Account] = relationship(lazy="joined")


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    title: Mapped[str]
    body: Mapped[str]
    owner: Mapped[Account] = relationship()


class AccountOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str


class DocumentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    body: str
    owner: AccountOut


class DocumentIn(BaseModel):
    title: str
    body: str = ""


class RoleIn(BaseModel):
    role: str


class LoginIn(BaseModel):
    name: str


DOCUMENT_LIST = TypeAdapter(list[DocumentOut])


class AccessLog(BaseHTTPMiddleware):
    async def dispatch(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request_id = request.headers.get("x-request-id", "-")
        agent = request.headers.get("user-agent", "-")
        response = await call_next(request)
        log.info("%s %s %s %s %s", request_id, agent, request.method, request.url.path, response.status_code)
        return response


def get_session(request: Request) -> Iterator[Session]:
    with request.app.state.sessions() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def get_account(session: SessionDep, sid: Annotated[str | None, Cookie()] = None) -> Account:
    visit = session.get(Visit, sid) if sid else None
    if visit is None:
        raise HTTPException(401, "log in first")
    return visit.account


AccountDep = Annotated[Account, Depends(get_account)]


def require_admin(account: AccountDep) -> Account:
    if account.role != "admin":
        raise HTTPException(403, "administrators only")
    return account


def visible(account: Account) -> Select[tuple[Document]]:
    query = select(Document).order_by(Document.id)
    return query if account.role in {"admin", "auditor"} else query.where(Document.owner_id == account.id)


def own_document(document_id: int, account: AccountDep, session: SessionDep) -> Document:
    document = session.scalar(visible(account).where(Document.id == document_id))
    if document is None:
        raise HTTPException(404, "no such document")
    return document


DocumentDep = Annotated[Document, Depends(own_document)]
router = APIRouter()


@router.get("/documents", response_model=list[DocumentOut])
def list_documents(request: Request, account: AccountDep, session: SessionDep, limit: int = 50) -> Response:
    """Answer with an ETag over the bytes, and with 304 to a client that has them."""
    rows = list(session.scalars(visible(account).limit(limit)))
    body = DOCUMENT_LIST.dump_json(DOCUMENT_LIST.validate_python(rows))
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


@router.get("/documents/count")
def count_documents(account: AccountDep, session: SessionDep) -> dict[str, int | None]:
    return {"count": session.scalar(select(func.count()).select_from(visible(account).subquery()))}


@router.get("/documents/{document_id}", response_model=DocumentOut)
def open_document(document: DocumentDep, response: Response) -> Document:
    response.headers["ETag"] = f'W/"{document.id}-{len(document.title)}-{len(document.body)}"'
    return document


@router.post("/documents", response_model=DocumentOut, status_code=201)
def create_document(body: DocumentIn, account: AccountDep, session: SessionDep) -> Document:
    document = Document(owner_id=account.id, **body.model_dump())
    session.add(document)
    session.commit()
    return document


@router.put("/documents/{document_id}", response_model=DocumentOut)
def put_document(body: DocumentIn, document: DocumentDep, session: SessionDep) -> Document:
    document.title, document.body = body.title, body.body
    session.commit()
    return document


@router.delete("/documents/{document_id}", status_code=204)
def delete_document(document: DocumentDep, session: SessionDep) -> None:
    session.delete(document)
    session.commit()


@router.get("/accounts", response_model=list[AccountOut], dependencies=[Depends(require_admin)])
def list_accounts(session: SessionDep) -> list[Account]:
    return list(session.scalars(select(Account).order_by(Account.id)))


@router.put("/accounts/{account_id}/role", dependencies=[Depends(require_admin)])
def put_role(account_id: int, body: RoleIn, session: SessionDep) -> dict[str, str]:
    session.get_one(Account, account_id).role = body.role
    session.commit()
    return {"role": body.role}


@router.get("/me")
def me(account: AccountDep) -> dict[str, str]:
    return {"name": account.name, "role": account.role}


@router.post("/login")
def login(body: LoginIn, response: Response, session: SessionDep) -> dict[str, str]:
    account = session.scalar(select(Account).where(Account.name == body.name))
    if account is None:
        raise HTTPException(401, "who?")
    sid = secrets.token_hex(16)
    session.add(Visit(sid=sid, account_id=account.id))
    session.commit()
    response.set_cookie("sid", sid, httponly=True, samesite="lax")
    return {"name": account.name}


@router.post("/logout", status_code=204)
def logout(response: Response, session: SessionDep, sid: Annotated[str | None, Cookie()] = None) -> None:
    visit = session.get(Visit, sid) if sid else None
    if visit is not None:
        session.delete(visit)
        session.commit()
    response.delete_cookie("sid")


def build(database_url: str) -> FastAPI:
    engine = create_engine(database_url, connect_args={"check_same_thread": False}, max_overflow=-1)
    application = FastAPI(title="roles")
    application.state.engine = engine
    application.state.sessions = sessionmaker(engine)
    application.include_router(router)
    application.add_middleware(AccessLog)
    application.add_middleware(GZipMiddleware, minimum_size=500)
    application.add_middleware(
        CORSMiddleware, allow_origins=["https://front.example"], allow_credentials=True, allow_methods=["*"]
    )
    return application


def seed(database_url: str) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.connection().exec_driver_sql("PRAGMA journal_mode=WAL")
        session.add_all(Account(id=i, name=name, role=role) for i, (name, role) in PEOPLE.items())
        session.add_all(Visit(sid=sid, account_id=account) for sid, account in SIDS.items())
        session.add_all(
            Document(
                id=number, owner_id=number % 3 + 1, title=f"Paper {number}", body="lorem " * (number % 9)
            )
            for number in range(1, DOCUMENTS + 1)
        )
        session.commit()
    engine.dispose()


def exercise(client: httpx.Client) -> None:
    """Make 400 requests with five cookies of three roles, a login and a logout; raise on a surprising status."""
    rng = Random(8)
    for turn in range(400):
        sid, account = rng.choice(list(SIDS.items()))
        role = PEOPLE[account][1]
        own = [n for n in range(1, 40) if n % 3 + 1 == account] or [1, 2, 3]
        document = f"/documents/{rng.choice(own[:4])}"
        body = {"title": f"Paper {turn}", "body": "ipsum " * (turn % 7)}
        method, url, expected, content = rng.choices(
            (
                ("GET", "/documents", 200, None),
                ("GET", "/documents?limit=5", 200, None),
                ("GET", "/documents/count", 200, None),
                ("GET", document, 200, None),
                ("GET", "/me", 200, None),
                ("GET", "/accounts", 200 if role == "admin" else 403, None),
                ("GET", f"/documents/{account % 3 + 1}", 200 if role != "member" else 404, None),
                ("POST", "/documents", 201, body),
                ("PUT", document, 200, body),
            ),
            weights=(25, 15, 12, 18, 8, 5, 4, 2, 4),
        )[0]
        headers = {"Cookie": f"sid={sid}", "X-Request-ID": f"r{turn}", "User-Agent": f"agent/{turn % 3}"}
        if turn % 4 == 0:
            headers["Origin"] = "https://front.example"
        response = client.request(method, url, headers=headers, json=content)
        assert response.status_code == expected, f"{method} {url}: {response.status_code} {response.text}"
        if turn % 100 == 50:
            _change_role(client, rng.choice(("auditor", "admin")))
        if turn % 130 == 60:
            _log_in_and_out(client)


def _change_role(client: httpx.Client, role: str) -> None:
    """Give Olga another role, look through her eyes, and take it back."""
    root, olga = {"Cookie": "sid=sid-root"}, {"Cookie": "sid=sid-olga"}
    for wanted in ("member", role, "auditor"):
        client.put("/accounts/4/role", json={"role": wanted}, headers=root).raise_for_status()
        assert client.get("/me", headers=olga).json()["role"] == wanted
        client.get("/documents", headers=olga).raise_for_status()


def _log_in_and_out(client: httpx.Client) -> None:
    sid = client.post("/login", json={"name": "noah"}).raise_for_status().cookies["sid"]
    client.cookies.clear()
    cookie = {"Cookie": f"sid={sid}"}
    for _ in range(3):
        client.get("/documents", headers=cookie).raise_for_status()
    client.post("/logout", headers=cookie).raise_for_status()
    assert client.get("/documents", headers=cookie).status_code == 401
    client.cookies.clear()


app = build(os.environ.get("APP_DATABASE_URL", "sqlite:///./roles.db"))
