from sqlmodel import Field, SQLModel


class User(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    email: str = Field(unique=True)
    password: str  # in clear, for an example has no secrets; hash yours
    is_active: bool = True


class UserPublic(SQLModel):
    id: int
    email: str


class NoteBase(SQLModel):
    title: str = Field(min_length=1, max_length=120)
    text: str = ""


class Note(NoteBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    owner_id: int = Field(foreign_key="user.id", index=True)


class NoteCreate(NoteBase):
    pass


class NoteUpdate(SQLModel):
    title: str | None = Field(default=None, min_length=1, max_length=120)
    text: str | None = None


class NotePublic(NoteBase):
    id: int


class NotesPublic(SQLModel):
    data: list[NotePublic]
    count: int


class Token(SQLModel):
    access_token: str
    token_type: str = "bearer"  # noqa: S105  the name of the scheme
