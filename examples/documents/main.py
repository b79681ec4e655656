"""Documents: sync SQLAlchemy; an API key leads to an account, its role decides what is seen; own ETags."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.security import APIKeyHeader
from sqlalchemy import Select, create_engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from .models import Account, ApiKey, Base, Document, Role
from .schemas import AccountOut, Counts, DocumentIn, DocumentList, DocumentOut, RoleIn

engine = create_engine(os.environ.get("DOCUMENTS_DATABASE_URL", "sqlite:///./documents.db"))
SessionLocal = sessionmaker(engine)
api_key = APIKeyHeader(name="X-API-Key")


def get_session() -> Iterator[Session]:
    with SessionLocal() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def current_account(key: Annotated[str, Depends(api_key)], session: SessionDep) -> Account:
    account = session.scalar(select(Account).join(ApiKey).where(ApiKey.key == key))
    if account is None:
        raise HTTPException(403, "The key is not known.")
    return account


CurrentAccount = Annotated[Account, Depends(current_account)]


class Allowed:
    """Lets accounts of these roles pass."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    def __call__(self, account: CurrentAccount) -> Account:
        if account.role not in self.roles:
            raise HTTPException(403, "Your role does not allow this.")
        return account


Editor = Annotated[Account, Depends(Allowed(Role.EDITOR, Role.ADMIN))]
Admin = Annotated[Account, Depends(Allowed(Role.ADMIN))]


def visible(account: Account) -> Select[Any]:
    """Readers see what is published, editors their own drafts too, administrators everything."""
    documents = select(Document)
    match account.role:
        case Role.ADMIN:
            return documents
        case Role.EDITOR:
            return documents.where(Document.published.is_(True) | (Document.author_id == account.id))
    return documents.where(Document.published.is_(True))


def tag_of(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def answered(request: Request, body: bytes) -> Response:
    """The answer with its ETag, or none of it to a client that has it."""
    tag = tag_of(body)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


def visible_document(document_id: int, account: CurrentAccount, session: SessionDep) -> Document:
    document: Document | None = session.scalar(visible(account).where(Document.id == document_id))
    if document is None:
        raise HTTPException(404, "There is no such document.")
    return document


VisibleDocument = Annotated[Document, Depends(visible_document)]
router = APIRouter()


@router.get("/account", response_model=AccountOut)
def read_account(account: CurrentAccount) -> Account:
    return account


@router.get("/documents", response_model=DocumentList)
def list_documents(
    request: Request, account: CurrentAccount, session: SessionDep, page: int = 1, size: int = 25
) -> Response:
    rows = session.scalars(visible(account).order_by(Document.id).limit(size).offset((page - 1) * size))
    found = DocumentList(items=[DocumentOut.model_validate(row) for row in rows], page=page)
    return answered(request, found.model_dump_json().encode())


@router.get("/documents/counts")
def count_documents(account: CurrentAccount, session: SessionDep) -> Counts:
    documents = visible(account).subquery()
    total = session.scalar(select(func.count()).select_from(documents)) or 0
    drafts = session.scalar(select(func.count()).where(documents.c.published.is_(False))) or 0
    return Counts(total=total, drafts=drafts)


@router.get("/documents/{document_id}", response_model=DocumentOut)
def read_document(request: Request, document: VisibleDocument) -> Response:
    return answered(request, DocumentOut.model_validate(document).model_dump_json().encode())


@router.post("/documents", response_model=DocumentOut, status_code=201)
def create_document(body: DocumentIn, account: Editor, session: SessionDep) -> Document:
    document = Document(**body.model_dump(), author_id=account.id)
    session.add(document)
    session.commit()
    return document


@router.put("/documents/{document_id}", response_model=DocumentOut)
def replace_document(
    body: DocumentIn,
    document: VisibleDocument,
    account: Editor,
    session: SessionDep,
    if_match: Annotated[str | None, Header()] = None,
) -> Document:
    if account.role is not Role.ADMIN and document.author_id != account.id:
        raise HTTPException(403, "It is the document of another.")
    now = tag_of(DocumentOut.model_validate(document).model_dump_json().encode())
    if if_match not in (None, now):
        raise HTTPException(412, "The document has changed meanwhile.")
    document.title, document.text, document.published = body.title, body.text, body.published
    session.commit()
    return document


@router.put("/accounts/{account_id}/role", response_model=AccountOut)
def change_role(account_id: int, body: RoleIn, _admin: Admin, session: SessionDep) -> Account:
    account = session.get(Account, account_id)
    if account is None:
        raise HTTPException(404, "There is no such account.")
    account.role = body.role
    session.commit()
    return account


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


app = FastAPI(title="Documents", lifespan=lifespan)
app.include_router(router)
