from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, assert_never

from fastapi import APIRouter, Depends, HTTPException, Query
from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from ..clock import db_now, today
from ..database import SessionDep
from ..models import Priority, Project, Status, Task, User
from ..schemas import Direction, Due, TaskCreate, TaskEdit, TaskOut, TaskPage, TaskSort
from ..security import CurrentUser

router = APIRouter()

PageNumber = Annotated[int, Query(ge=1)]
PageSize = Annotated[int, Query(ge=1, le=100)]


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """The query parameters of the task list."""

    status: Status | None = None
    priority: Priority | None = None
    project_id: int | None = None
    due: Due | None = None
    sort: TaskSort = TaskSort.CREATED
    direction: Direction = Direction.DESC
    page: PageNumber = 1
    limit: PageSize = 20


SORT_COLUMNS = {
    TaskSort.CREATED: Task.created_at,
    TaskSort.UPDATED: Task.updated_at,
    TaskSort.DUE: Task.due_date,
    TaskSort.TITLE: Task.title,
}


def visible_tasks(user: User) -> Select[Any]:
    """Return the tasks that `user` may see: the user's own, in projects that are not archived."""
    return select(Task).join(Task.project).where(Task.owner_id == user.id, Project.archived.is_(False))


def due_condition(due: Due, day: date) -> ColumnElement[bool]:
    match due:
        case Due.OVERDUE:
            return (Task.due_date < day) & (Task.status != Status.DONE)
        case Due.TODAY:
            return Task.due_date == day
        case Due.WEEK:
            return Task.due_date.between(day, day + timedelta(days=7))
        case other:
            assert_never(other)


def read_page(session: Session, matching: Select[Any], page: int, limit: int) -> TaskPage:
    total = session.scalar(matching.order_by(None).with_only_columns(func.count(Task.id))) or 0
    rows = session.scalars(
        matching.options(contains_eager(Task.project)).limit(limit).offset((page - 1) * limit)
    )
    return TaskPage(items=[TaskOut.model_validate(row) for row in rows], total=total, page=page, limit=limit)


def own_task(task_id: int, user: CurrentUser, session: SessionDep) -> Task:
    task = session.scalar(
        select(Task)
        .join(Task.project)
        .options(contains_eager(Task.project))
        .where(Task.id == task_id, Task.owner_id == user.id)
    )
    if task is None:
        raise HTTPException(404, "There is no such task.")
    return task


OwnTask = Annotated[Task, Depends(own_task)]


def check_project(session: Session, user: User, project_id: int) -> None:
    found = session.scalar(
        select(Project.id).where(Project.id == project_id, Project.tenant_id == user.tenant_id)
    )
    if found is None:
        raise HTTPException(422, "There is no such project.")


@router.get("")
def list_tasks(
    filters: Annotated[TaskFilter, Depends()],
    user: CurrentUser,
    session: SessionDep,
    day: Annotated[date, Depends(today)],
) -> TaskPage:
    matching = visible_tasks(user)
    if filters.status is not None:
        matching = matching.where(Task.status == filters.status)
    if filters.priority is not None:
        matching = matching.where(Task.priority == filters.priority)
    if filters.project_id is not None:
        matching = matching.where(Task.project_id == filters.project_id)
    if filters.due is not None:
        matching = matching.where(due_condition(filters.due, day))
    column = SORT_COLUMNS[filters.sort]
    ascending = filters.direction is Direction.ASC
    matching = matching.order_by(column.asc() if ascending else column.desc(), Task.id)
    return read_page(session, matching, filters.page, filters.limit)


@router.get("/search")
def search_tasks(
    q: Annotated[str, Query(min_length=2, max_length=80)],
    user: CurrentUser,
    session: SessionDep,
    page: PageNumber = 1,
    limit: PageSize = 20,
) -> TaskPage:
    found = or_(Task.title.icontains(q, autoescape=True), Task.description.icontains(q, autoescape=True))
    matching = visible_tasks(user).where(found).order_by(Task.updated_at.desc(), Task.id)
    return read_page(session, matching, page, limit)


@router.get("/{task_id}", response_model=TaskOut)
def open_task(task: OwnTask) -> Task:
    return task


@router.post("", response_model=TaskOut, status_code=201)
def create_task(body: TaskCreate, user: CurrentUser, session: SessionDep) -> Task:
    check_project(session, user, body.project_id)
    task = Task(**body.model_dump(), owner_id=user.id, tenant_id=user.tenant_id)
    session.add(task)
    session.commit()
    session.refresh(task)
    return task


@router.patch("/{task_id}", response_model=TaskOut)
def edit_task(body: TaskEdit, task: OwnTask, user: CurrentUser, session: SessionDep) -> Task:
    if body.project_id is not None:
        check_project(session, user, body.project_id)
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(task, name, value)
    if body.status is not None:
        task.completed_at = db_now() if body.status is Status.DONE else None
    session.commit()
    session.refresh(task)
    return task


@router.post("/{task_id}/complete", response_model=TaskOut)
def complete_task(task: OwnTask, session: SessionDep) -> Task:
    if task.status is not Status.DONE:
        task.status = Status.DONE
        task.completed_at = db_now()
        session.commit()
        session.refresh(task)
    return task


@router.delete("/{task_id}", status_code=204)
def delete_task(task: OwnTask, session: SessionDep) -> None:
    session.delete(task)
    session.commit()
