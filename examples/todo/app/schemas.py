from datetime import date, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from .models import Priority, Role, Status


class Due(StrEnum):
    OVERDUE = "overdue"
    TODAY = "today"
    WEEK = "week"


class TaskSort(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    DUE = "due"
    TITLE = "title"


class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


class FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"  # noqa: S105  the name of a scheme


class ProjectOut(FromRow):
    id: int
    name: str
    color: str
    archived: bool


class ProjectRef(FromRow):
    id: int
    name: str
    color: str


class TaskOut(FromRow):
    id: int
    title: str
    description: str
    status: Status
    priority: Priority
    due_date: date | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    project: ProjectRef


class TaskPage(BaseModel):
    items: list[TaskOut]
    total: int
    page: int
    limit: int


class TaskCreate(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=4000)
    project_id: int
    priority: Priority = Priority.MEDIUM
    due_date: date | None = None


class TaskEdit(BaseModel):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=4000)
    project_id: int | None = None
    status: Status | None = None
    priority: Priority | None = None
    due_date: date | None = None


class ProjectProgress(BaseModel):
    project_id: int
    name: str
    total: int
    done: int


class MonthCount(BaseModel):
    month: str
    completed: int


class Summary(BaseModel):
    total: int
    open: int
    by_status: dict[Status, int]
    by_priority: dict[Priority, int]
    by_project: list[ProjectProgress]
    completed_by_month: list[MonthCount]


class MemberStanding(BaseModel):
    user_id: int
    name: str
    total: int
    done: int
    urgent_open: int
    projects: int


class TeamStats(BaseModel):
    members: list[MemberStanding]
    projects: list[ProjectProgress]


class ProfileOut(BaseModel):
    id: int
    email: str
    full_name: str
    role: Role
    tenant: str
    display_name: str
    bio: str
    locale: str
    email_digest: bool


class ProfileEdit(BaseModel):
    display_name: str = Field(min_length=1, max_length=80)
    bio: str = Field(default="", max_length=2000)
    locale: str = Field(default="en", max_length=10)
    email_digest: bool = True


class SettingsOut(FromRow):
    timezone: str
    week_starts_on: str
    default_priority: Priority
    announcement: str


class SettingsEdit(BaseModel):
    timezone: str = Field(max_length=40)
    week_starts_on: str = Field(max_length=10)
    default_priority: Priority
    announcement: str = Field(default="", max_length=2000)


class BulkComplete(BaseModel):
    project_id: int


class BulkResult(BaseModel):
    completed: int


class Health(BaseModel):
    status: str


class Now(BaseModel):
    now: datetime
