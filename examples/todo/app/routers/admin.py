from fastapi import APIRouter
from sqlalchemy import CursorResult, Table, update

from ..clock import db_now
from ..database import SessionDep
from ..models import Status, Task
from ..schemas import BulkComplete, BulkResult
from ..security import CurrentAdmin

router = APIRouter()


@router.post("/tasks/bulk-complete")
def bulk_complete(body: BulkComplete, admin: CurrentAdmin, session: SessionDep) -> BulkResult:
    """Complete every open task of a project, whoever owns it, in one statement."""
    tasks = Task.__table__
    assert isinstance(tasks, Table)
    now = db_now()
    result = session.connection().execute(
        update(tasks)
        .where(
            tasks.c.tenant_id == admin.tenant_id,
            tasks.c.project_id == body.project_id,
            tasks.c.status != Status.DONE,
        )
        .values(status=Status.DONE, completed_at=now, updated_at=now)
    )
    assert isinstance(result, CursorResult)
    session.commit()
    return BulkResult(completed=result.rowcount)
