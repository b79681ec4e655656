from fastapi import APIRouter
from sqlalchemy import String, case, cast, func, literal_column, select

from ..database import SessionDep
from ..models import Priority, Project, Status, Task, User
from ..schemas import MemberStanding, MonthCount, ProjectProgress, Summary, TeamStats
from ..security import CurrentUser

router = APIRouter()

DONE = func.coalesce(func.sum(case((Task.status == Status.DONE, 1), else_=0)), 0)
URGENT_OPEN = func.coalesce(
    func.sum(case(((Task.priority == Priority.URGENT) & (Task.status != Status.DONE), 1), else_=0)), 0
)


@router.get("/summary")
def summary(user: CurrentUser, session: SessionDep) -> Summary:
    """Count the user's own tasks."""
    live = (Task.owner_id == user.id, Project.archived.is_(False))
    counts = session.execute(
        select(Task.status, Task.priority, func.count())
        .join(Task.project)
        .where(*live)
        .group_by(Task.status, Task.priority)
    ).all()
    by_status = dict.fromkeys(Status, 0)
    by_priority = dict.fromkeys(Priority, 0)
    for status, priority, number in counts:
        by_status[status] += number
        by_priority[priority] += number
    projects = session.execute(
        select(Project.id, Project.name, func.count(), DONE)
        .join(Task, Task.project_id == Project.id)
        .where(*live)
        .group_by(Project.id)
        .order_by(Project.name, Project.id)
    )
    # constants in the text: to PostgreSQL two parameters are two expressions
    month = func.substr(cast(Task.completed_at, String), literal_column("1"), literal_column("7"))
    months = session.execute(
        select(month, func.count())
        .join(Task.project)
        .where(*live, Task.completed_at.is_not(None))
        .group_by(month)
        .order_by(month)
    )
    total = sum(by_status.values())
    return Summary(
        total=total,
        open=total - by_status[Status.DONE],
        by_status=by_status,
        by_priority=by_priority,
        by_project=[ProjectProgress(project_id=i, name=n, total=t, done=d) for i, n, t, d in projects],
        completed_by_month=[MonthCount(month=name, completed=number) for name, number in months],
    )


@router.get("/team")
def team(user: CurrentUser, session: SessionDep) -> TeamStats:
    """Rank everybody in the user's tenant, and show how far its projects are."""
    tenant_id = user.tenant_id
    live = (Task.tenant_id == tenant_id, Project.tenant_id == tenant_id, Project.archived.is_(False))
    members = session.execute(
        select(
            User.id, User.full_name, func.count(), DONE, URGENT_OPEN, func.count(Task.project_id.distinct())
        )
        .join(Task, Task.owner_id == User.id)
        .join(Project, Project.id == Task.project_id)
        .where(*live, User.tenant_id == tenant_id, User.is_active.is_(True))
        .group_by(User.id)
        .order_by(DONE.desc(), User.id)
    )
    projects = session.execute(
        select(Project.id, Project.name, func.count(), DONE)
        .join(Task, Task.project_id == Project.id)
        .where(*live)
        .group_by(Project.id)
        .order_by(Project.name, Project.id)
    )
    return TeamStats(
        members=[
            MemberStanding(user_id=i, name=n, total=t, done=d, urgent_open=u, projects=p)
            for i, n, t, d, u, p in members
        ],
        projects=[ProjectProgress(project_id=i, name=n, total=t, done=d) for i, n, t, d in projects],
    )
