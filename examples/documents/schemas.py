from pydantic import BaseModel, ConfigDict

from .models import Role


class AccountOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    role: Role


class AuthorOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str


class DocumentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    text: str
    published: bool
    author: AuthorOut


class DocumentList(BaseModel):
    items: list[DocumentOut]
    page: int


class DocumentIn(BaseModel):
    title: str
    text: str = ""
    published: bool = False


class Counts(BaseModel):
    total: int
    drafts: int


class RoleIn(BaseModel):
    role: Role
